/** Tests locks and watches when requests, responses and streams are lost or late. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, type LockState } from 'etcd-locker';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startTcpProxy, type EtcdServer, type TcpProxy } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

let stage: Stage<EtcdServer>;
let proxy: TcpProxy;
beforeAll(async () => {
  stage = await openStage();
});
beforeEach(async () => {
  proxy = await startTcpProxy(stage.server.endpoint);
});
afterEach(async () => {
  proxy.resume();
  await stage.clear();
  await proxy.close();
});
afterAll(() => stage[Symbol.asyncDispose]());

describe('wanted', () => {
  test.each(['is cut', 'falls silent'])('aborts for a contender that comes while the connection of its watch %s', async (fault) => {
    const locker = stage.createLockerAt([proxy.endpoint, stage.server.endpoint], { requestTimeoutMs: 1_500 });
    const lock = await locker.lock(fault);
    const { wanted } = lock;
    await sleep(100);
    if (fault === 'is cut') await proxy.cut();
    else proxy.hangResponses();

    const waiting = follow(stage.createLocker().lock(fault));
    await stage.queued(fault, 2);
    await eventually(() => {
      expect(wanted.aborted).toBe(true);
    });

    expect(lock.held).toBe(true);
    await lock.release();
    await (await waiting.promise).release();
  });
});

describe('a kept lock', () => {
  test.each(['is cut', 'falls silent'])('goes to another process while the connection of its watch %s', async (fault) => {
    const locker = stage.createLockerAt([proxy.endpoint, stage.server.endpoint], { requestTimeoutMs: 1_500, keepMs: 60_000 });
    const name = `kept, ${fault}`;
    await locker.withLock(name, () => undefined);
    await sleep(100);
    expect(await stage.etcd.entries(name)).toHaveLength(1);
    if (fault === 'is cut') await proxy.cut();
    else proxy.hangResponses();

    const { value, ms } = await timed(stage.createLocker().lock(name));

    expect(value?.held).toBe(true);
    // A silent connection is noticed after two tries. Then the entry is deleted by the other host, or found by a look there.
    expect(ms).toBeLessThan(8_000);
  });
});

describe('lock()', () => {
  test('creates exactly one entry when its enqueue was applied and the response lost', async () => {
    const locker = stage.createLockerAt([proxy.endpoint, stage.server.endpoint], { requestTimeoutMs: 1_500 });
    await locker.withLock('warm', () => undefined);
    proxy.hangResponses();

    const locking = timed(locker.lock('x'));
    await stage.queued('x', 1);
    const [applied] = await stage.etcd.entries('x');
    const { value: lock, ms } = await locking;

    expect(ms).toBeLessThan(1_500 + 300);
    expect(lock).toMatchObject({ held: true, key: applied?.key, fencingToken: applied?.createRevision });
    expect(await stage.etcd.entries('x')).toHaveLength(1);
    proxy.resume();
    await lock?.release();
    expect(await stage.etcd.entries('x')).toEqual([]);
    expect((await locker.lock('x')).fencingToken).toBeGreaterThan(applied?.createRevision ?? 0n);
  });

  test('creates exactly one entry when the only host delays its responses for longer than a try', async () => {
    const locker = stage.createLocker({ hosts: proxy.endpoint, requestTimeoutMs: 3_000 });
    await locker.withLock('warm', () => undefined);
    proxy.hangResponses();

    const locking = follow(locker.lock('x'));
    await sleep(2_000);
    expect(locking.isSettled).toBe(false);
    proxy.resume();

    const lock = await locking.promise;
    expect(await stage.etcd.entries('x')).toMatchObject([{ key: lock.key, createRevision: lock.fencingToken }]);
  });

  test('opens one session, and counts its TTL from the first request, when the grant was applied and the response lost', async () => {
    const [ttlMs, marginMs, tryMs] = [6_000, 600, 500];
    const locker = stage.createLockerAt([proxy.endpoint, stage.server.endpoint], { ttlMs, requestTimeoutMs: 3 * tryMs });
    await locker.inspect('connects');
    proxy.hangResponses();

    const lock = await locker.lock('x');

    expect(lock.remainingMs).toBeLessThan(ttlMs - marginMs - tryMs + 50);
    expect(await stage.etcd.leases()).toEqual([lock.leaseId]);
  });

  test('leaves no ghost entry when its first request is delivered after the lock of the retry was released', async () => {
    for (let round = 0; round < 4; round += 1) {
      const locker = stage.createLockerAt([proxy.endpoint, stage.server.endpoint], { requestTimeoutMs: 750 });
      await locker.withLock('warm', () => undefined);
      proxy.hang();

      const names = Array.from({ length: 25 }, (_, index) => `${String(round)}/${String(index)}`);
      await Promise.all(names.map((name) => locker.withLock(name, () => undefined)));
      proxy.resume();
      await sleep(100);
      await locker.withLock('after', () => undefined);

      expect(await stage.etcd.entries()).toEqual([]);
    }
  });

  test('rejects when no host responds, and leaves no entry once a host responds again', async () => {
    const locker = stage.createLocker({ hosts: proxy.endpoint, requestTimeoutMs: 600 });
    await locker.withLock('warm', () => undefined);
    proxy.hangResponses();

    const { error, ms } = await timed(locker.lock('x'));

    expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE', hosts: [{ host: proxy.endpoint }] });
    expect(ms).toBeLessThan(600 + 300);
    proxy.resume();
    await eventually(async () => {
      expect(await stage.etcd.entries('x')).toEqual([]);
    });
  });

  test('resolves when the watch stream of the waiter hangs', async () => {
    // With this TTL, the periodic look comes too late to help.
    const ttlMs = 60_000;
    const waiters = stage.createLockerAt([proxy.endpoint, stage.server.endpoint], { ttlMs, requestTimeoutMs: 1_500 });
    const lock = await stage.createLocker({ ttlMs }).lock('x');
    const waiting = follow(waiters.lock('x'));
    await stage.queued('x', 2);
    await sleep(100);

    proxy.hang();
    await lock.release();
    const { ms } = await timed(waiting.promise);

    expect(waiting.value?.held).toBe(true);
    expect(ms).toBeLessThan(4_000);
  });

  test('resolves when the watch stream was cut and the history compacted meanwhile', async () => {
    const ttlMs = 60_000;
    const lock = await stage.createLocker({ ttlMs }).lock('x');
    const waiters = stage.createLocker({ hosts: proxy.endpoint, ttlMs });
    const waiting = follow(waiters.lock('x'));
    await stage.queued('x', 2);
    await sleep(100);

    await proxy.cut();
    await lock.release();
    await stage.etcd.compact();
    await proxy.restore();
    const { ms } = await timed(waiting.promise);

    expect(waiting.value?.held).toBe(true);
    expect(ms).toBeLessThan(4_000);
  });

  test('keeps waiting when etcd compacts its history again and again', async () => {
    const lock = await stage.createLocker().lock('x');
    const waiting = follow(stage.createLocker().lock('x'));
    await stage.queued('x', 2);

    for (let round = 0; round < 20; round += 1) {
      await stage.etcd.put('other', String(round));
      await stage.etcd.compact();
    }
    expect([lock.held, waiting.isSettled]).toEqual([true, false]);
    await lock.release();

    expect((await waiting.promise).held).toBe(true);
    await stage.etcd.delete('other');
  });
});

describe('watch()', () => {
  test('continues with the current state when its stream was cut and the history compacted meanwhile', async () => {
    const [locker, watchers] = [stage.createLocker(), stage.createLocker({ hosts: proxy.endpoint })];
    const lock = await locker.lock('x', { value: 'first' });
    const states = watchers.watch('x');
    expect((await states.next()).value).toMatchObject({ holders: [{ value: 'first' }] });

    await proxy.cut();
    await lock.setValue('second');
    await lock.release();
    const next = await locker.lock('x', { value: 'third' });
    await stage.etcd.compact();
    await proxy.restore();

    expect((await states.next()).value).toMatchObject({ holders: [{ value: 'third', fencingToken: next.fencingToken }] });
    await next.release();
    expect((await states.next()).value).toMatchObject({ held: false, holders: [] });
  });

  test('continues on the next host when its stream hangs', async () => {
    const locker = stage.createLocker();
    const watchers = stage.createLockerAt([proxy.endpoint, stage.server.endpoint], { requestTimeoutMs: 1_500 });
    const states = watchers.watch('x');
    expect((await states.next()).value).toMatchObject({ held: false });

    proxy.hang();
    const lock = await locker.lock('x');
    const readHeld = async (): Promise<LockState> => {
      // The silence of the first host may last long enough for a state that may be old.
      for await (const state of states) if (state.held) return state;
      return expect.unreachable('the watch goes on');
    };
    const { value, ms } = await timed(readHeld());

    expect(value).toMatchObject({ held: true, holders: [{ key: lock.key }], current: true });
    expect(ms).toBeLessThan(4_000);
  });
});

test('lock.remainingMs counts from the sending of a grant or renewal, not from the response', async () => {
  const [ttlMs, marginMs, roundTripMs] = [6_000, 600, 400];
  await using locker = createLocker({ hosts: proxy.endpoint, ttlMs });
  proxy.delay(roundTripMs / 2);

  const lock = await locker.lock('x');
  // Grant, gate and entry are three requests in sequence.
  const afterGrant = lock.remainingMs;
  const seen: number[] = [];
  const until = performance.now() + 4_500;
  while (performance.now() < until) {
    seen.push(lock.remainingMs);
    await sleep(10);
  }
  proxy.delay(0);

  expect(afterGrant).toBeLessThan(ttlMs - marginMs - 3 * roundTripMs + 50);
  const renewals = seen.filter((ms, index) => ms > (seen[index - 1] ?? Infinity));
  expect(renewals.length).toBeGreaterThan(0);
  // A renewal counts after two responses: its own, and that of the read after it.
  for (const ms of renewals) expect(ms).toBeLessThan(ttlMs - marginMs - 2 * roundTripMs + 50);
});
