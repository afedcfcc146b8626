/** Tests of the watch on a session's gate, which notices the end of a lease before the next beat. */
import { describe, expect, test, vi } from 'vitest';
import type { WatchListener, WatchRequest } from '../../src/store/store.ts';
import { calls, type FaultyMemory, lostRequest, openFaultyMemory } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

const gateOf = ({ leaseId }: { readonly leaseId: string }): string => `locks/@sessions/${BigInt(leaseId).toString(16)}`;

function put({ etcd }: FaultyMemory, key: string, leaseId: string): void {
  etcd.commit({ compare: [], then: [{ put: { key, value: 'outsider', leaseId } }], otherwise: [] });
}

describe('the watch on the gate', () => {
  test('reports a revoked lease to holders and waiters at once', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const [lock, busy] = [await locker.lock('a'), await other.lock('b')];
    const { signal } = lock;
    const waiting = follow(locker.lock('b'));
    await memory.clock.settle();

    memory.etcd.revoke(lock.leaseId);
    await memory.clock.settle();

    expect(signal.reason).toMatchObject({ reason: 'expired', cause: { message: expect.stringContaining('revoked') as string } });
    expect(memory.store.count(calls.renew)).toBe(0);
    expect(memory.entries('b')).toHaveLength(2);
    await busy.release();
    await memory.clock.settle();
    expect(waiting.value?.leaseId).not.toBe(lock.leaseId);
    expect(waiting.value?.held).toBe(true);
  });

  test('ignores a deletion from before the gate was created', async () => {
    await using memory = await openFaultyMemory();
    const spy = vi.spyOn(memory.store, 'watch');
    const lock = await memory.createLocker().lock('a');
    const [request, listener] = spy.mock.calls[0] as [WatchRequest, WatchListener];
    expect(request).toEqual({ key: gateOf(lock), isBackground: true });
    const deletedAt = (modRevision: bigint) => ({
      type: 'delete' as const,
      kv: { key: request.key, value: '', createRevision: 0n, modRevision, leaseId: '0' },
    });

    listener.events([deletedAt(2n)]);
    expect(lock.held).toBe(true);
    listener.events([deletedAt(9n)]);

    expect(lock.held).toBe(false);
  });

  test('calls for an audit if another program puts the gate, and for none if the gate moves', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    memory.store.next(calls.creation, lostRequest);
    await locker.withLock('b', () => undefined);
    await memory.clock.settle();
    expect([memory.store.count(calls.gateMove), memory.store.count(calls.leaseKeys)]).toEqual([1, 0]);

    memory.etcd.commit({ compare: [], then: [{ delete: { key: lock.key } }], otherwise: [] });
    put(memory, gateOf(lock), lock.leaseId);
    await memory.clock.settle();

    expect(memory.store.count(calls.leaseKeys)).toBe(1);
    expect(lock.held).toBe(false);
  });

  test('calls for few audits if another program puts the gate all the time', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');

    for (let at = 0; at < 3_000; at += 10) {
      put(memory, gateOf(lock), lock.leaseId);
      await memory.clock.advance(10);
    }

    expect(memory.store.count(calls.leaseKeys)).toBeLessThan(16);
    expect(lock.held).toBe(true);
  });

  test('calls for a beat when it begins again after a break', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');
    await memory.clock.settle();
    memory.store.breakWatches();
    memory.etcd.revoke(lock.leaseId);
    await memory.clock.settle();
    expect(lock.held).toBe(true);

    memory.store.restoreWatches();
    await memory.clock.settle();

    expect(memory.store.count(calls.renew)).toBe(1);
    expect(lock.held).toBe(false);
  });

  test('begins with the first holder or waiter of a session, and ends with the session', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a');
    const opened = memory.etcd.watchCount;
    expect(await other.tryLock('a')).toBeNull();
    await memory.clock.settle();
    expect([opened, memory.etcd.watchCount]).toEqual([1, 1]);

    await lock.release();
    for (let round = 0; round < 20; round += 1) await locker.withLock('b', () => undefined);
    expect(memory.etcd.watchCount).toBe(1);
    await memory.clock.advance(30_000);

    expect([memory.etcd.leaseIds, memory.etcd.watchCount]).toEqual([[], 0]);
  });

  test('is not there for a lock that is not renewed', async () => {
    await using memory = await openFaultyMemory();

    await memory.createLocker().lock('a', { renew: false });
    await memory.clock.settle();

    expect(memory.etcd.watchCount).toBe(0);
  });
});
