/** Tests locks while a member of a cluster of three is killed, hangs or is cut off. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, startTcpProxy, type EtcdCluster, type EtcdMember } from '../support/etcd/etcd.ts';
import { waitUntilHealthy } from '../support/etcd/http.ts';
import { follow } from '../support/fixtures/holding.ts';
import { stageOn, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

const requestTimeoutMs = 3_000;

describe.skipIf(!(await canControlServers()))('a cluster of three', () => {
  let stage: Stage<EtcdCluster>;
  let leader: EtcdMember;
  let followers: EtcdMember[];
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, { heartbeatMs: 100, electionMs: 1_000 }));
  });
  afterEach(async () => {
    await restartMembers();
    await stage.clear();
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  const restartMembers = async (): Promise<void> => {
    for (const member of stage.server.members) {
      if (member.pid === undefined) await member.start();
    }
  };
  const findRoles = async (): Promise<void> => {
    leader = await stage.server.leader();
    followers = stage.server.members.filter((member) => member !== leader);
  };
  const [kill, freeze] = [(member: EtcdMember) => member.kill(), (member: EtcdMember) => member.freeze()];
  const endpointsFrom = (first: EtcdMember) =>
    [first, ...stage.server.members.filter((member) => member !== first)].map(({ endpoint }) => endpoint);

  test('a minimum hold outlasts the leader that granted its lease', async () => {
    await findRoles();
    const [follower] = followers;
    if (follower === undefined) throw new RangeError('there is no follower');
    const [locker, other] = [stage.createLockerAt(endpointsFrom(follower)), stage.createLockerAt(endpointsFrom(follower))];
    const lock = await locker.lock('kept', { minHoldMs: 3_000 });
    const heldAt = performance.now();
    await lock.release();
    await kill(leader);

    const next = await other.lock('kept');

    expect(performance.now() - heldAt).toBeGreaterThanOrEqual(2_990);
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
  });

  describe.each([
    ['killed', kill],
    ['hung', freeze],
  ])('with a member %s', (_how, fail) => {
    test('lock() and release() complete within requestTimeoutMs when it is the follower that the locker uses', async () => {
      await findRoles();
      const [follower] = followers;
      if (follower === undefined) throw new RangeError('there is no follower');
      const locker = stage.createLockerAt(endpointsFrom(follower), { requestTimeoutMs });
      const held = await locker.lock('held');
      await fail(follower);

      const locked = await timed(locker.lock('x'));
      const released = await timed(locked.value?.release() ?? Promise.reject(new Error('no lock')));
      const after = await timed(locker.withLock('x', () => undefined));

      expect([locked.error, released.error, after.error]).toEqual([undefined, undefined, undefined]);
      expect(locked.ms).toBeLessThan(requestTimeoutMs);
      expect(released.ms).toBeLessThan(requestTimeoutMs);
      // By now the locker avoids the failed member.
      expect(after.ms).toBeLessThan(500);
      expect(held.held).toBe(true);
    });

    test('lock() works within requestTimeoutMs when it is the first host of a new locker', async () => {
      await findRoles();
      const [follower] = followers;
      if (follower === undefined) throw new RangeError('there is no follower');
      await fail(follower);

      const { value, ms } = await timed(stage.createLockerAt(endpointsFrom(follower), { requestTimeoutMs }).lock('x'));

      expect(value?.held).toBe(true);
      expect(ms).toBeLessThan(requestTimeoutMs);
    });

    test('holders and waiters keep their entries when it is the leader', async () => {
      await findRoles();
      const lockers = stage.server.members.map((member) => stage.createLockerAt(endpointsFrom(member)));
      const [first, ...rest] = lockers;
      const lock = await first?.lock('x');
      const waiting: ReturnType<typeof follow<NonNullable<typeof lock>>>[] = [];
      for (const locker of [...rest, ...lockers]) {
        waiting.push(follow(locker.lock('x')));
        await sleep(50);
      }
      // The second call of a locker waits in its local queue.
      await expectQueue(3);

      await fail(leader);
      await sleep(4_000);

      expect([lock?.held, lock?.signal.aborted]).toEqual([true, false]);
      expect(waiting.map(({ isSettled }) => isSettled)).toEqual(waiting.map(() => false));
      await lock?.release();
      const tokens = [lock?.fencingToken ?? 0n];
      await Promise.all(
        waiting.map(async ({ promise }) => {
          const next = await promise;
          expect(next.held).toBe(true);
          tokens.push(next.fencingToken);
          await next.release();
        }),
      );
      expect(tokens).toEqual([...tokens].sort((a, b) => (a < b ? -1 : 1)));
      expect(lock?.signal.aborted).toBe(false);
    });
  });

  const expectQueue = (count: number): Promise<void> => stage.queued('x', count);

  test('lock() resolves when the member of its watch is cut off', async () => {
    await findRoles();
    const [follower, other] = followers;
    if (follower === undefined || other === undefined) throw new RangeError('there are no two followers');
    await using proxy = await startTcpProxy(follower.endpoint);
    // With this TTL, the periodic look comes too late to help.
    const ttlMs = 60_000;
    const waiters = stage.createLockerAt([proxy.endpoint, other.endpoint, leader.endpoint], { ttlMs, requestTimeoutMs });
    const lock = await stage.createLockerAt([leader.endpoint], { ttlMs }).lock('x');
    const waiting = follow(waiters.lock('x'));
    await expectQueue(2);
    await sleep(100);

    proxy.hang();
    await lock.release();
    const { ms } = await timed(waiting.promise);

    expect(waiting.value?.held).toBe(true);
    expect(ms).toBeLessThan(6_000);
    proxy.resume();
    await waiters.close();
  });

  test('lock() keeps its lease when one member after the other hangs for 1.2 s', async () => {
    const lockers = stage.server.members.map((member) => stage.createLockerAt(endpointsFrom(member), { ttlMs: 6_000 }));
    const locks = await Promise.all(lockers.map((locker, index) => locker.lock(`n${String(index)}`)));
    const waiting = lockers.map((locker, index) => follow(locker.lock(`n${String((index + 1) % 3)}`)));

    for (const member of stage.server.members) {
      await member.freeze();
      await sleep(1_200);
      member.thaw();
      // The next member waits for a leader: no lease is renewed without one.
      for (const each of stage.server.members) await waitUntilHealthy(each.endpoint);
    }

    expect(locks.map(({ held, signal }) => [held, signal.aborted])).toEqual(locks.map(() => [true, false]));
    expect(waiting.map(({ isSettled }) => isSettled)).toEqual([false, false, false]);
    await Promise.all(locks.map((lock) => lock.release()));
    const next = await Promise.all(waiting.map(({ promise }) => promise));
    expect(next.map(({ held }) => held)).toEqual([true, true, true]);
  });
});
