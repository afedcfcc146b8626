/** Tests of a cluster with a corrupt alarm: etcd refuses every write until an operator ends the alarm. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, type EtcdServer } from '../support/etcd/etcd.ts';
import { ask, memberStatus } from '../support/etcd/http.ts';
import { openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

describe.skipIf(!(await canControlServers()))('with a corrupt alarm', () => {
  let stage: Stage<EtcdServer>;
  beforeAll(async () => {
    stage = await openStage();
  });
  afterEach(async () => {
    await setAlarm('DEACTIVATE');
    await stage.clear();
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  const setAlarm = async (action: 'ACTIVATE' | 'DEACTIVATE'): Promise<void> => {
    const { memberId } = await memberStatus(stage.server.endpoint);
    const post = { action, memberID: memberId, alarm: 'CORRUPT' };
    const { status, body } = await ask(stage.server.endpoint, '/v3/maintenance/alarm', { post, timeoutMs: 5_000 });
    expect([status, body]).toEqual([200, expect.any(String)]);
  };

  test('lock(), tryLock() and tryLockAll() reject at once with a refusal that no retry can help', async () => {
    const locker = stage.createLocker();
    const fresh = stage.createLocker();
    await (await locker.lock('x')).release();
    await setAlarm('ACTIVATE');

    const calls: (() => Promise<unknown>)[] = [
      () => locker.lock('x'),
      () => fresh.lock('x'),
      () => locker.tryLock('y'),
      () => locker.tryLockAll(['y', 'z']),
    ];
    for (const call of calls) {
      const { error, ms } = await timed(call());
      expect(error).toMatchObject({ code: 'ETCD_REFUSED', isFinal: true, message: expect.stringContaining('corrupt') as unknown });
      expect(ms).toBeLessThan(2_000);
    }
  });
});
