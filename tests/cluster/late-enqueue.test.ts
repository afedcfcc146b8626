/** Tests that an enqueue leaves no entry if a follower applies it after another member has answered the retry. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster } from '../support/etcd/etcd.ts';
import { isHealthy } from '../support/etcd/http.ts';
import { eventually, stageOn, type Stage } from '../support/fixtures/etcd-stage.ts';

const rounds = 5;
const locksPerRound = 20;

describe.skipIf(!(await canControlServers()))('an enqueue that a follower applies late', () => {
  let stage: Stage<EtcdCluster>;
  beforeAll(async () => {
    stage = stageOn(await startCluster(3, { heartbeatMs: 100, electionMs: 1_000 }));
  });
  afterEach(() => stage.clear());
  afterAll(() => stage[Symbol.asyncDispose]());

  test.each(['lock', 'tryLock'] as const)(
    'leaves no ghost entry when another member answered %s() and the lock was released',
    async (method) => {
      const leader = await stage.server.leader();
      const names: string[] = [];
      for (let round = 0; round < rounds; round += 1) {
        const follower = stage.server.members.filter((member) => member !== leader)[round % 2];
        if (follower === undefined) throw new RangeError('there is no follower');
        // Each locker stays open, because its session would renew a ghost entry.
        const locker = stage.createLockerAt([follower.endpoint, leader.endpoint], { requestTimeoutMs: 1_500 });
        await locker.withLock('warm', () => undefined);
        const ownNames = Array.from({ length: locksPerRound }, (_, index) => `${method}/${String(round)}/${String(index)}`);
        names.push(...ownNames);

        await follower.freeze();
        await Promise.all(
          ownNames.map(async (name) => {
            const lock = await locker[method](name);
            expect(lock?.held).toBe(true);
            await lock?.release();
          }),
        );
        follower.thaw();
        await eventually(async () => {
          expect(await isHealthy(follower.endpoint)).toBe(true);
        });
      }

      await sleep(500);
      expect(names).toHaveLength(rounds * locksPerRound);
      expect(await stage.etcd.entries()).toEqual([]);
      const locker = stage.createLocker();
      const again = await Promise.all(names.map((name) => locker.tryLock(name)));
      expect(again.filter((lock) => lock === null)).toEqual([]);
    },
  );
});
