/** Tests of watch() under faults. */
import { EtcdAuthError, type LockState } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import {
  after,
  respondsAfter,
  unreachable,
  type FaultyMemory,
  calls,
  lostRequest,
  openFaultyMemory,
  refused,
} from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

function put(memory: FaultyMemory, key: string, value: string): void {
  memory.etcd.commit({ compare: [], then: [{ put: { key, value, leaseId: '0' } }], otherwise: [] });
}

function remove(memory: FaultyMemory, key: string): void {
  memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
}

/** Reads until the watch ends. Returns the array of all states so far. */
function collect(states: AsyncIterable<LockState>): LockState[] {
  const seen: LockState[] = [];
  void (async () => {
    for await (const state of states) seen.push(state);
  })();
  return seen;
}

const holders = (seen: readonly LockState[]) => seen.map((state) => state.holders[0]?.value ?? '');

describe('watch()', () => {
  test('watch() reports changes that happen during its first read', async () => {
    await using memory = await openFaultyMemory();
    memory.store.next(calls.read, respondsAfter(memory.clock, 1_000));
    const seen = collect(memory.createLocker().watch('a'));
    await memory.clock.advance(500);

    put(memory, 'locks/a/1', 'early');
    await memory.clock.advance(500);

    expect(holders(seen)).toEqual(['early']);
    remove(memory, 'locks/a/1');
    await memory.clock.settle();
    expect(holders(seen)).toEqual(['early', '']);
  });

  test('watch() ignores events that its first read includes', async () => {
    await using memory = await openFaultyMemory();
    memory.store.next(calls.read, after(memory.clock, 1_000));
    const seen = collect(memory.createLocker().watch('a'));
    await memory.clock.settle();

    put(memory, 'locks/a/1', 'gone');
    remove(memory, 'locks/a/1');
    put(memory, 'locks/a/2', 'there');
    await memory.clock.advance(1_000);

    expect(holders(seen)).toEqual(['there']);
    remove(memory, 'locks/a/2');
    await memory.clock.settle();
    expect(holders(seen)).toEqual(['there', '']);
  });

  test('watch() reports each of many changes, in revision order, to a fast reader', async () => {
    await using memory = await openFaultyMemory();
    const seen = collect(memory.createLocker().watch('a'));
    await memory.clock.settle();

    for (let count = 0; count < 20; count += 1) {
      put(memory, 'locks/a/1', String(count));
      await memory.clock.settle();
    }

    expect(holders(seen)).toEqual(['', ...Array.from({ length: 20 }, (_, index) => String(index))]);
    const revisions = seen.map(({ revision }) => revision);
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => Number(a - b)));
    remove(memory, 'locks/a/1');
  });

  test('watch() applies all changes of one revision before it reports a state', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'locks/a/1', 'first');
    const seen = collect(memory.createLocker().watch('a'));
    await memory.clock.settle();

    const next = { put: { key: 'locks/a/2', value: 'second', leaseId: '0' } };
    memory.etcd.commit({ compare: [], then: [{ delete: { key: 'locks/a/1' } }, next], otherwise: [] });
    await memory.clock.settle();

    expect(holders(seen)).toEqual(['first', 'second']);
    remove(memory, 'locks/a/2');
  });

  test('watch() reads again, without an error, after a break', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'locks/a/1', 'before');
    const seen = collect(memory.createLocker().watch('a'));
    await memory.clock.settle();
    memory.store.breakWatches();
    remove(memory, 'locks/a/1');
    put(memory, 'locks/a/2', 'missed');
    await memory.clock.settle();
    put(memory, 'locks/a/2', 'after');
    await memory.clock.settle();
    expect(holders(seen)).toEqual(['before']);

    memory.store.restoreWatches();
    await memory.clock.settle();
    remove(memory, 'locks/a/2');
    await memory.clock.settle();

    expect(holders(seen)).toEqual(['before', 'after', '']);
  });

  test('watch() reports nothing after a break without changes', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'locks/a/1', 'same');
    const seen = collect(memory.createLocker().watch('a'));
    await memory.clock.settle();

    memory.store.breakWatches();
    put(memory, 'locks/b/1', 'other');
    memory.store.restoreWatches();
    await memory.clock.settle();

    expect(holders(seen)).toEqual(['same']);
    remove(memory, 'locks/a/1');
    remove(memory, 'locks/b/1');
  });

  test('watch() survives an outage after its first state', async () => {
    await using memory = await openFaultyMemory();
    const seen = collect(memory.createLocker().watch('a'));
    await memory.clock.settle();
    memory.store.breakWatches();
    put(memory, 'locks/a/1', 'new');
    const stopFault = memory.store.every(calls.read, unreachable(memory.clock));

    memory.store.restoreWatches();
    await memory.clock.advance(30_000);
    expect(seen).toMatchObject([
      { held: false, current: true },
      { held: false, current: false },
    ]);
    stopFault();
    await memory.clock.advance(7_000);

    expect(seen.slice(2)).toMatchObject([{ holders: [{ value: 'new' }], current: true }]);
    remove(memory, 'locks/a/1');
  });

  test('watch() rejects with the reason if no retry of its first read can help, and with failFast also if etcd does not respond', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const refusal = new EtcdAuthError('locks/', 'permission denied');
    memory.store.next(calls.read, refused(refusal), refused(refusal), lostRequest, lostRequest);

    const errors = [
      await errorOf(locker.watch('a').next()),
      await errorOf(locker.watch().next()),
      await errorOf(locker.watch('a', { failFast: true }).next()),
      await errorOf(locker.watch({ failFast: true }).next()),
    ];

    expect(errors.slice(0, 2)).toEqual([refusal, refusal]);
    for (const error of errors.slice(2)) expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    expect(memory.clock.isHeld).toBe(false);
  });

  test('watch() keeps only the newest state while nothing reads it', async () => {
    await using memory = await openFaultyMemory();
    const states = memory.createLocker().watch('a');
    await states.next();

    for (let count = 0; count < 1_000; count += 1) put(memory, 'locks/a/1', String(count));
    await memory.clock.settle();

    expect((await states.next()).value).toMatchObject({ holders: [{ value: '999' }] });
    const next = follow(states.next());
    await memory.clock.settle();
    expect(next.isSettled).toBe(false);
    remove(memory, 'locks/a/1');
    expect((await next.promise).value).toMatchObject({ held: false });
  });

  test('watch() resolves several calls of next() in order', async () => {
    await using memory = await openFaultyMemory();
    const states = memory.createLocker().watch('a');
    const [first, second, third] = [follow(states.next()), follow(states.next()), follow(states.next())];
    await memory.clock.settle();
    expect([first.isSettled, second.isSettled]).toEqual([true, false]);

    put(memory, 'locks/a/1', 'x');
    await memory.clock.settle();
    expect(second.value).toMatchObject({ value: { holders: [{ value: 'x' }] } });
    await states.return();

    expect(await third.promise).toMatchObject({ done: true });
    remove(memory, 'locks/a/1');
  });

  test('watch() deletes its watch in etcd when it ends', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const states = locker.watch('a');
    await states.next();
    expect(memory.etcd.watchCount).toBe(1);

    await states.return();

    expect(memory.etcd.watchCount).toBe(0);
    expect(memory.clock.isHeld).toBe(false);
  });

  test('watch() neither logs nor retries when a read fails after its end', async () => {
    await using memory = await openFaultyMemory();
    const lines: unknown[] = [];
    const warn = (line: unknown) => lines.push(line);
    const states = memory.createLocker({ logger: { debug: warn, info: warn, warn, error: warn } }).watch('a');
    await states.next();
    memory.store.breakWatches();
    memory.store.next(calls.read, after(memory.clock, 1_000, lostRequest));
    memory.store.restoreWatches();
    await memory.clock.settle();

    await states.return();
    await memory.clock.advance(1_000);

    expect(lines).toEqual([]);
    expect(memory.clock.timerCount).toBe(0);
  });
});
