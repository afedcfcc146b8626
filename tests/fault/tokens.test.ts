/** Authentication tokens that become invalid under holders and waiters. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster, type EtcdMember } from '../support/etcd/etcd.ts';
import { administer, enableAuth, jwtTokens, simpleTokens } from '../support/etcd/auth.ts';
import { ask } from '../support/etcd/http.ts';
import { stageOn } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { hostsFrom, restoreCluster, Scenario } from './scenario.ts';

const auth = { username: 'locker', password: 'sesame-9431' };
const lockLoop: Work = { work: 'loop', choices: [{ names: ['x'], counts: true }], pauseMs: 50 };
/** Pauses for longer than the lifetime of a token, so that its token expires without use. */
const infrequentLoop: Work = { work: 'loop', choices: [{ names: ['y'], counts: true }], pauseMs: 4_000 };

/** Finds the leader by its metrics, because its status needs a user. */
async function leaderOf({ members }: EtcdCluster): Promise<EtcdMember> {
  for (const member of members) {
    const { body } = await ask(member.endpoint, '/metrics', { timeoutMs: 5_000 });
    if (/^etcd_server_is_leader 1$/m.test(body)) return member;
  }
  throw new Error('Cannot find the leader: no member reports that it leads');
}

/** Starts a client for each member, which it uses first. All keep a lock. The first client locks often, the others infrequently. */
function startClients(scenario: Scenario): void {
  for (const [index, member] of scenario.cluster.members.entries()) {
    const kept: Work = { work: 'keep', name: `kept${String(index)}` };
    scenario.client({ hosts: hostsFrom(scenario.cluster, member), callers: index === 0 ? [lockLoop, kept] : [infrequentLoop, kept] });
  }
}

describe.skipIf(!(await canControlServers()))('an authentication token', { timeout: 60_000 }, () => {
  test('costs neither holders nor waiters anything when it expires and the leader changes', async () => {
    await using stage = stageOn(await startCluster(3, { ...timing, args: simpleTokens(1) }));
    await enableAuth({ hosts: stage.server.endpoint }, [{ ...auth, rights: ['locks/', 'counters/'] }]);
    const afterClients = () => administer(stage.server.endpoint, (client) => client.auth.authDisable());
    await using scenario = new Scenario('simple token expired', stage, { ttlMs: 6_000, auth, afterClients });
    startClients(scenario);
    await scenario.waitForLocks(8);

    await scenario.fault('tokens expired', 'all', () => sleep(5_000));
    const leader = await leaderOf(stage.server);
    await scenario.fault('leader killed', leader.name, () => leader.kill());
    await scenario.waitForLocks(5);
    await restoreCluster(stage.server);
    await scenario.waitForLocks(5);

    expect((await scenario.end()).losses).toBe(0);
  });

  test('of the JWT kind costs nothing when a change of rights makes it invalid', async () => {
    using tokens = jwtTokens();
    await using stage = stageOn(await startCluster(3, { ...timing, args: tokens.args }));
    await enableAuth({ hosts: stage.server.endpoint }, [{ ...auth, rights: ['locks/', 'counters/'] }]);
    const afterClients = () => administer(stage.server.endpoint, (client) => client.auth.authDisable());
    await using scenario = new Scenario('JWT after a change of rights', stage, { ttlMs: 6_000, auth, afterClients });
    startClients(scenario);
    await scenario.waitForLocks(8);

    for (let round = 0; round < 3; round += 1) {
      await scenario.fault('rights changed', 'all', () =>
        administer(stage.server.endpoint, (client) => client.role(`new${String(round)}`).create()),
      );
      await sleep(1_500);
      await scenario.waitForLocks(5);
    }

    expect((await scenario.end()).losses).toBe(0);
  });
});
