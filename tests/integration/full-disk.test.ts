/** Tests of an etcd whose storage is full: its alarm refuses puts and grants until somebody frees space and disarms it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, type EtcdServer, startTcpProxy } from '../support/etcd/etcd.ts';
import { ask } from '../support/etcd/http.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';
import { eventually, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';

const quotaBytes = 4 * 1024 * 1024;
const toBase64 = (text: string): string => Buffer.from(text).toString('base64');

describe.skipIf(!(await canControlServers()))('while the storage of etcd is full', () => {
  let stage: Stage<EtcdServer>;
  beforeAll(async () => {
    stage = await openStage({ args: ['--quota-backend-bytes', String(quotaBytes)] });
  });
  afterEach(async () => {
    await disarm();
    await stage.clear();
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  const post = async (path: string, body: unknown): Promise<{ readonly status: number; readonly body: string }> =>
    ask(stage.server.endpoint, `/v3/${path}`, { post: body, timeoutMs: 10_000 });

  /** Puts large values until etcd raises the alarm. */
  const fill = async (): Promise<void> => {
    const value = toBase64('x'.repeat(400_000));
    for (let index = 0; index < 100; index += 1) {
      const { body } = await post('kv/put', { key: toBase64(`fill${String(index)}`), value });
      if (body.includes('database space exceeded')) return;
    }
    throw new Error('Cannot fill etcd: it took 100 large values');
  };

  /** Frees space as an operator would: deletes, compacts, defragments, and disarms the alarm. */
  const disarm = async (): Promise<void> => {
    const { body } = await post('kv/deleterange', { key: toBase64('fill'), range_end: toBase64('fill~') });
    const { revision } = (JSON.parse(body) as { header: { revision: string } }).header;
    await post('kv/compaction', { revision, physical: true });
    await post('maintenance/defragment', {});
    const { alarms = [] } = JSON.parse((await post('maintenance/alarm', { action: 'GET' })).body) as { alarms?: { memberID: string }[] };
    for (const { memberID } of alarms) await post('maintenance/alarm', { action: 'DEACTIVATE', memberID, alarm: 'NOSPACE' });
    await eventually(async () => {
      expect((await post('kv/put', { key: toBase64('fill'), value: '' })).status).toBe(200);
    });
    await post('kv/deleterange', { key: toBase64('fill') });
  };

  test('refused calls cost no connections', async () => {
    await using proxy = await startTcpProxy(stage.server.endpoint);
    const locker = stage.createLockerAt([proxy.endpoint]);
    const lock = await locker.lock('x');
    await fill();
    const before = proxy.accepted;

    for (let calls = 0; calls < 5; calls += 1) {
      expect(await errorOf(lock.setValue(`new ${String(calls)}`))).toMatchObject({ code: 'ETCD_REFUSED' });
      expect(await errorOf(locker.lock('other'))).toMatchObject({ code: 'ETCD_REFUSED' });
    }

    expect(proxy.accepted).toBe(before);
    // Before the proxy.
    await locker.close();
  });

  test('a refused lock() costs its process no place, and the order is the same after the alarm', async () => {
    const [a, b, c] = [stage.createLocker(), stage.createLocker(), stage.createLocker()];
    const holder = await a.lock('x', { value: 'a' });
    const second = follow(b.lock('x', { value: 'b' }));
    await stage.queued('x', 2);
    const third = follow(c.lock('x', { value: 'c' }));
    await stage.queued('x', 3);
    const valuesOf = async (): Promise<string[]> => {
      const { holders, waiters } = await a.inspect('x');
      return [...holders, ...waiters].map(({ value }) => value);
    };
    await fill();

    expect(await errorOf(b.lock('other'))).toMatchObject({ code: 'ETCD_REFUSED' });
    expect(await errorOf(b.tryLock('other'))).toMatchObject({ code: 'ETCD_REFUSED' });
    expect(await errorOf(b.tryLockAll(['other', 'another']))).toMatchObject({ code: 'ETCD_REFUSED' });
    expect(await errorOf(holder.setValue('changed'))).toMatchObject({ code: 'ETCD_REFUSED' });

    expect(await valuesOf()).toEqual(['a', 'b', 'c']);
    expect(holder).toMatchObject({ held: true, value: 'a' });
    await disarm();
    expect(await valuesOf()).toEqual(['a', 'b', 'c']);
    const other = await b.lock('other');
    await holder.release();
    const next = await second.promise;
    expect(next.leaseId).toBe(other.leaseId);
    expect(third.isSettled).toBe(false);
    await next.release();
    expect((await third.promise).held).toBe(true);
  });

  test('an inherited place whose value etcd refuses blocks nobody, and releases work', async () => {
    const [a, b, c] = [stage.createLocker(), stage.createLocker(), stage.createLocker()];
    const holder = await a.lock('x', { value: 'a' });
    const controller = new AbortController();
    const first = follow(b.lock('x', { value: 'b', signal: controller.signal }));
    await stage.queued('x', 2);
    const heir = follow(b.lock('x', { value: 'another' }));
    const last = follow(c.lock('x', { value: 'c' }));
    await stage.queued('x', 3);
    await fill();

    controller.abort();
    await eventually(() => {
      expect(heir.error).toMatchObject({ code: 'ETCD_REFUSED' });
    });
    await holder.release();

    expect((await last.promise).held).toBe(true);
    expect(first.error).toBe(controller.signal.reason);
  });

  test('a hand-over that etcd refuses frees the lock', async () => {
    const [one, other] = [stage.createLocker(), stage.createLocker()];
    const holder = await one.lock('x');
    const theirs = follow(other.lock('x'));
    await stage.queued('x', 2);
    const next = follow(one.lock('x'));
    await fill();

    await holder.release();

    expect((await theirs.promise).held).toBe(true);
    await eventually(() => {
      expect(next.error).toMatchObject({ code: 'ETCD_REFUSED' });
    });
  });
});
