/** Tests locks with a learner among the hosts, which refuses almost every request in words that differ from version to version. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startCluster, type EtcdCluster } from '../support/etcd/etcd.ts';
import { startLearner, type Learner } from '../support/etcd/learner.ts';
import { memberOf, stageOn, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

const requestTimeoutMs = 6_000;

describe.skipIf(!(await canControlServers()))('with a learner among the hosts', () => {
  let stage: Stage<EtcdCluster>;
  let learner: Learner;
  beforeAll(async () => {
    // With that check, etcd adds no member before all have been connected for 5 s.
    stage = stageOn(await startCluster(3, { args: ['--strict-reconfig-check=false'] }));
    learner = await startLearner(stage.server);
  });
  afterEach(async () => {
    for (const member of stage.server.members) if (member.pid === undefined) await member.start();
    await stage.clear();
  });
  afterAll(async () => {
    await learner[Symbol.asyncDispose]();
    await stage[Symbol.asyncDispose]();
  });

  const learnerFirst = () => [learner.member.endpoint, ...stage.server.endpoints];

  test('lock(), tryLock(), inspect(), list() and release() go on to the next host', async () => {
    const create = () => stage.createLockerAt(learnerFirst(), { requestTimeoutMs });

    const lock = await create().lock('x');
    const other = await create().tryLock('y');
    const shared = await create().tryLock('z', { mode: 'shared' });

    expect([lock.held, other?.held, shared?.held]).toEqual([true, true, true]);
    const { holders } = await create().inspect('x');
    expect(holders).toMatchObject([{ key: lock.key, leaseRemainingMs: expect.any(Number) as number }]);
    const names: string[] = [];
    for await (const { name } of create().list()) names.push(name);
    expect(names).toEqual(['x', 'y', 'z']);
    await Promise.all([lock.release(), other?.release(), shared?.release()]);
    expect(await stage.etcd.entries('x')).toEqual([]);
  });

  test('watch() and a waiting lock() go on to the next host', async () => {
    // With this TTL, the periodic look comes too late to help.
    const ttlMs = 60_000;
    const lock = await stage.createLocker({ ttlMs }).lock('x');
    const waiter = stage.createLockerAt(learnerFirst(), { ttlMs, requestTimeoutMs });
    const states = stage.createLockerAt(learnerFirst(), { requestTimeoutMs }).watch('x');
    const waiting = waiter.lock('x');
    await stage.queued('x', 2);
    expect((await states.next()).value).toMatchObject({ held: true });

    await lock.release();
    const { value, ms } = await timed(waiting);

    expect(value?.held).toBe(true);
    expect(ms).toBeLessThan(requestTimeoutMs);
    expect((await states.next()).value).toMatchObject({ held: true });
    await states.return();
  });

  test('a release that meets the learner first is done by the host after it', async () => {
    const [first, second] = [memberOf(stage.server, 0), memberOf(stage.server, 1)];
    const locker = stage.createLockerAt([first.endpoint, learner.member.endpoint, second.endpoint], { requestTimeoutMs, ttlMs: 60_000 });
    const lock = await locker.lock('x');
    await first.kill();

    await lock.release();

    expect((await locker.inspect('x')).held).toBe(false);
  });

  test('a renewal that meets the learner first is done by the host after it', async () => {
    const [first, second] = [memberOf(stage.server, 0), memberOf(stage.server, 1)];
    const ttlMs = 6_000;
    const locker = stage.createLockerAt([first.endpoint, learner.member.endpoint, second.endpoint], { requestTimeoutMs, ttlMs });
    const lock = await locker.lock('x');
    await first.kill();

    await new Promise((resolve) => setTimeout(resolve, ttlMs));

    expect(lock.held).toBe(true);
    await lock.release();
  });

  test('lock() reports a learner that is the only host', async () => {
    const locker = stage.createLocker({ hosts: learner.member.endpoint, requestTimeoutMs: 500 });

    await expect(locker.lock('x')).rejects.toMatchObject({
      code: 'ETCD_UNAVAILABLE',
      hosts: [{ host: learner.member.endpoint, reason: expect.stringContaining('learner') as unknown }],
    });
  });
});
