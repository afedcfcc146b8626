/** Tokens of etcd's authentication that end while locks are held and waited for. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster, type EtcdMember } from '../support/etcd.ts';
import { ask } from '../support/etcd-http.ts';
import { stageOn } from '../support/integration-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { hostsFrom, mend, Scenario } from './scenario.ts';

const auth = { username: 'locker', password: 'sesame-9431' };
const root = { username: 'root', password: 'root-8402' };
const turns: Work = { work: 'turns', choices: [{ names: ['x'], counts: true }], pauseMs: 50 };
/** Between two of its turns a token ends that nothing else uses. */
const seldom: Work = { work: 'turns', choices: [{ names: ['y'], counts: true }], pauseMs: 4_000 };

/** As root; each time by a new client, as an older one's token may be outdated. */
async function administer(cluster: EtcdCluster, task: (client: Etcd3) => Promise<unknown>, as: typeof root | null = root): Promise<void> {
  const client = new Etcd3({ hosts: cluster.endpoint, ...(as === null ? {} : { auth: as }) });
  try {
    await task(client);
  } finally {
    client.close();
  }
}

/** Where it may not be asked for its status, its figures still tell. */
async function leaderOf({ members }: EtcdCluster): Promise<EtcdMember> {
  for (const member of members) {
    const { body } = await ask(member.endpoint, '/metrics', { timeoutMs: 5_000 });
    if (/^etcd_server_is_leader 1$/m.test(body)) return member;
  }
  throw new Error('no member says that it is the leader');
}

async function enableAuth(cluster: EtcdCluster): Promise<void> {
  await administer(
    cluster,
    async (client) => {
      await client.user('root').create(root.password);
      await client.user('root').addRole('root');
      for (const [role, prefix] of [
        ['locks', 'locks'],
        ['counters', 'counters'],
      ] as const) {
        await client.role(role).create();
        const range = { start: Buffer.from(`${prefix}/`), end: Buffer.from(`${prefix}0`) };
        await client.role(role).grant({ permission: 'Readwrite', range: range as never });
      }
      await client.user(auth.username).create(auth.password);
      for (const role of ['locks', 'counters']) await client.user(auth.username).addRole(role);
      await client.auth.authEnable();
    },
    null,
  );
}

describe.skipIf(!(await canControlServers()))('a token', { timeout: 60_000 }, () => {
  test('that has expired costs neither holders nor waiters anything, nor does a change of leader then', async () => {
    await using stage = stageOn(
      await startCluster(3, { ...timing, args: ['--auth-token', 'simple', '--auth-token-ttl', '1', '--bcrypt-cost', '4'] }),
    );
    await enableAuth(stage.server);
    const afterClients = () => administer(stage.server, (client) => client.auth.authDisable());
    await using scenario = new Scenario('simple token expired', stage, { ttlMs: 6_000, auth, afterClients });
    for (const [index, member] of stage.server.members.entries()) {
      const kept: Work = { work: 'keep', name: `kept${String(index)}` };
      scenario.client({ hosts: hostsFrom(stage.server, member), callers: index === 0 ? [turns, kept] : [seldom, kept] });
    }
    await scenario.progress(8);

    await scenario.fault('tokens expired', 'all', () => sleep(5_000));
    const leader = await leaderOf(stage.server);
    await scenario.fault('leader killed', leader.name, () => leader.kill());
    await scenario.progress(5);
    await mend(stage.server);
    await scenario.progress(5);

    expect((await scenario.end()).losses).toBe(0);
  });

  test('of the JWT kind that a change of rights has made old costs nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'jwt-'));
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const [publicFile, privateFile] = [join(folder, 'public.pem'), join(folder, 'private.pem')];
    writeFileSync(publicFile, publicKey.export({ type: 'spki', format: 'pem' }));
    writeFileSync(privateFile, privateKey.export({ type: 'pkcs1', format: 'pem' }));
    const jwt = `jwt,pub-key=${publicFile},priv-key=${privateFile},sign-method=RS256,ttl=10m`;
    await using stage = stageOn(await startCluster(3, { ...timing, args: ['--auth-token', jwt, '--bcrypt-cost', '4'] }));
    await enableAuth(stage.server);
    const afterClients = () => administer(stage.server, (client) => client.auth.authDisable());
    await using scenario = new Scenario('JWT after a change of rights', stage, { ttlMs: 6_000, auth, afterClients });
    for (const [index, member] of stage.server.members.entries()) {
      const kept: Work = { work: 'keep', name: `kept${String(index)}` };
      scenario.client({ hosts: hostsFrom(stage.server, member), callers: index === 0 ? [turns, kept] : [seldom, kept] });
    }
    await scenario.progress(8);

    for (let round = 0; round < 3; round += 1) {
      await scenario.fault('rights changed', 'all', () =>
        administer(stage.server, (client) => client.role(`new${String(round)}`).create()),
      );
      await sleep(1_500);
      await scenario.progress(5);
    }

    expect((await scenario.end()).losses).toBe(0);
    rmSync(folder, { recursive: true });
  });
});
