/** Tokens of etcd's authentication that end while locks are held and waited for. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster, type EtcdMember } from '../support/etcd/etcd.ts';
import { administer, enableAuth, jwtTokens, simpleTokens } from '../support/etcd/auth.ts';
import { ask } from '../support/etcd/http.ts';
import { stageOn } from '../support/fixtures/etcd-stage.ts';
import { timing } from './bounds.ts';
import type { Work } from './plan.ts';
import { hostsFrom, mend, Scenario } from './scenario.ts';

const auth = { username: 'locker', password: 'sesame-9431' };
const turns: Work = { work: 'turns', choices: [{ names: ['x'], counts: true }], pauseMs: 50 };
/** Between two of its turns a token ends that nothing else uses. */
const seldom: Work = { work: 'turns', choices: [{ names: ['y'], counts: true }], pauseMs: 4_000 };

/** Where it may not be asked for its status, its figures still tell. */
async function leaderOf({ members }: EtcdCluster): Promise<EtcdMember> {
  for (const member of members) {
    const { body } = await ask(member.endpoint, '/metrics', { timeoutMs: 5_000 });
    if (/^etcd_server_is_leader 1$/m.test(body)) return member;
  }
  throw new Error('no member says that it is the leader');
}

/** At each member a client that asks it first: one takes turns, the others keep a lock and take another now and then. */
function peopleOf(scenario: Scenario): void {
  for (const [index, member] of scenario.cluster.members.entries()) {
    const kept: Work = { work: 'keep', name: `kept${String(index)}` };
    scenario.client({ hosts: hostsFrom(scenario.cluster, member), callers: index === 0 ? [turns, kept] : [seldom, kept] });
  }
}

describe.skipIf(!(await canControlServers()))('a token', { timeout: 60_000 }, () => {
  test('that has expired costs neither holders nor waiters anything, nor does a change of leader then', async () => {
    await using stage = stageOn(await startCluster(3, { ...timing, args: simpleTokens(1) }));
    await enableAuth({ hosts: stage.server.endpoint }, [{ ...auth, rights: ['locks/', 'counters/'] }]);
    const afterClients = () => administer(stage.server.endpoint, (client) => client.auth.authDisable());
    await using scenario = new Scenario('simple token expired', stage, { ttlMs: 6_000, auth, afterClients });
    peopleOf(scenario);
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
    using tokens = jwtTokens();
    await using stage = stageOn(await startCluster(3, { ...timing, args: tokens.args }));
    await enableAuth({ hosts: stage.server.endpoint }, [{ ...auth, rights: ['locks/', 'counters/'] }]);
    const afterClients = () => administer(stage.server.endpoint, (client) => client.auth.authDisable());
    await using scenario = new Scenario('JWT after a change of rights', stage, { ttlMs: 6_000, auth, afterClients });
    peopleOf(scenario);
    await scenario.progress(8);

    for (let round = 0; round < 3; round += 1) {
      await scenario.fault('rights changed', 'all', () =>
        administer(stage.server.endpoint, (client) => client.role(`new${String(round)}`).create()),
      );
      await sleep(1_500);
      await scenario.progress(5);
    }

    expect((await scenario.end()).losses).toBe(0);
  });
});
