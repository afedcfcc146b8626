import { EtcdAuthError, type LockState } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { after, answeredAfter, away, type Bench, calls, lostRequest, openBench, refused } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

function put(bench: Bench, key: string, value: string): void {
  bench.etcd.commit({ compare: [], then: [{ put: { key, value, leaseId: '0' } }], otherwise: [] });
}

function remove(bench: Bench, key: string): void {
  bench.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
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
    await using bench = await openBench();
    bench.store.next(calls.read, answeredAfter(bench.clock, 1_000));
    const seen = collect(bench.createLocker().watch('a'));
    await bench.clock.advance(500);

    put(bench, 'locks/a/1', 'early');
    await bench.clock.advance(500);

    expect(holders(seen)).toEqual(['early']);
    remove(bench, 'locks/a/1');
    await bench.clock.settle();
    expect(holders(seen)).toEqual(['early', '']);
  });

  test('watch() ignores events that its first read includes', async () => {
    await using bench = await openBench();
    bench.store.next(calls.read, after(bench.clock, 1_000));
    const seen = collect(bench.createLocker().watch('a'));
    await bench.clock.settle();

    put(bench, 'locks/a/1', 'gone');
    remove(bench, 'locks/a/1');
    put(bench, 'locks/a/2', 'there');
    await bench.clock.advance(1_000);

    expect(holders(seen)).toEqual(['there']);
    remove(bench, 'locks/a/2');
    await bench.clock.settle();
    expect(holders(seen)).toEqual(['there', '']);
  });

  test('watch() reports each of many changes, in revision order, to a fast reader', async () => {
    await using bench = await openBench();
    const seen = collect(bench.createLocker().watch('a'));
    await bench.clock.settle();

    for (let count = 0; count < 20; count += 1) {
      put(bench, 'locks/a/1', String(count));
      await bench.clock.settle();
    }

    expect(holders(seen)).toEqual(['', ...Array.from({ length: 20 }, (_, index) => String(index))]);
    const revisions = seen.map(({ revision }) => revision);
    expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => Number(a - b)));
    remove(bench, 'locks/a/1');
  });

  test('watch() applies all changes of one revision before it reports a state', async () => {
    await using bench = await openBench();
    put(bench, 'locks/a/1', 'first');
    const seen = collect(bench.createLocker().watch('a'));
    await bench.clock.settle();

    const next = { put: { key: 'locks/a/2', value: 'second', leaseId: '0' } };
    bench.etcd.commit({ compare: [], then: [{ delete: { key: 'locks/a/1' } }, next], otherwise: [] });
    await bench.clock.settle();

    expect(holders(seen)).toEqual(['first', 'second']);
    remove(bench, 'locks/a/2');
  });

  test('watch() reads again, without an error, after a break', async () => {
    await using bench = await openBench();
    put(bench, 'locks/a/1', 'before');
    const seen = collect(bench.createLocker().watch('a'));
    await bench.clock.settle();
    bench.store.breakWatches();
    remove(bench, 'locks/a/1');
    put(bench, 'locks/a/2', 'missed');
    await bench.clock.settle();
    put(bench, 'locks/a/2', 'after');
    await bench.clock.settle();
    expect(holders(seen)).toEqual(['before']);

    bench.store.mendWatches();
    await bench.clock.settle();
    remove(bench, 'locks/a/2');
    await bench.clock.settle();

    expect(holders(seen)).toEqual(['before', 'after', '']);
  });

  test('watch() reports nothing after a break without changes', async () => {
    await using bench = await openBench();
    put(bench, 'locks/a/1', 'same');
    const seen = collect(bench.createLocker().watch('a'));
    await bench.clock.settle();

    bench.store.breakWatches();
    put(bench, 'locks/b/1', 'other');
    bench.store.mendWatches();
    await bench.clock.settle();

    expect(holders(seen)).toEqual(['same']);
    remove(bench, 'locks/a/1');
    remove(bench, 'locks/b/1');
  });

  test('watch() survives an outage after its first state', async () => {
    await using bench = await openBench();
    const seen = collect(bench.createLocker().watch('a'));
    await bench.clock.settle();
    bench.store.breakWatches();
    put(bench, 'locks/a/1', 'new');
    const mend = bench.store.every(calls.read, away(bench.clock));

    bench.store.mendWatches();
    await bench.clock.advance(30_000);
    expect(holders(seen)).toEqual(['']);
    mend();
    await bench.clock.advance(7_000);

    expect(holders(seen)).toEqual(['', 'new']);
    remove(bench, 'locks/a/1');
  });

  test('watch() rejects with the reason if etcd refuses its first read or does not respond to it', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    const refusal = new EtcdAuthError('locks/', 'permission denied');
    bench.store.next(calls.read, refused(refusal), lostRequest);

    const errors = [await errorOf(locker.watch('a').next()), await errorOf(locker.watch('a').next())];

    expect(errors[0]).toBe(refusal);
    expect(errors[1]).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    expect(bench.clock.isHeld).toBe(false);
  });

  test('watch() keeps only the newest state while nothing reads it', async () => {
    await using bench = await openBench();
    const states = bench.createLocker().watch('a');
    await states.next();

    for (let count = 0; count < 1_000; count += 1) put(bench, 'locks/a/1', String(count));
    await bench.clock.settle();

    expect((await states.next()).value).toMatchObject({ holders: [{ value: '999' }] });
    const next = follow(states.next());
    await bench.clock.settle();
    expect(next.isSettled).toBe(false);
    remove(bench, 'locks/a/1');
    expect((await next.promise).value).toMatchObject({ held: false });
  });

  test('watch() resolves several calls of next() in order', async () => {
    await using bench = await openBench();
    const states = bench.createLocker().watch('a');
    const [first, second, third] = [follow(states.next()), follow(states.next()), follow(states.next())];
    await bench.clock.settle();
    expect([first.isSettled, second.isSettled]).toEqual([true, false]);

    put(bench, 'locks/a/1', 'x');
    await bench.clock.settle();
    expect(second.value).toMatchObject({ value: { holders: [{ value: 'x' }] } });
    await states.return?.();

    expect(await third.promise).toMatchObject({ done: true });
    remove(bench, 'locks/a/1');
  });

  test('watch() deletes its watch in etcd when it ends', async () => {
    await using bench = await openBench();
    const locker = bench.createLocker();
    const states = locker.watch('a');
    await states.next();
    expect(bench.etcd.watchCount).toBe(1);

    await states.return?.();

    expect(bench.etcd.watchCount).toBe(0);
    expect(bench.clock.isHeld).toBe(false);
  });

  test('watch() neither logs nor retries when a read fails after its end', async () => {
    await using bench = await openBench();
    const lines: unknown[] = [];
    const warn = (line: unknown) => lines.push(line);
    const states = bench.createLocker({ logger: { debug: warn, info: warn, warn, error: warn } }).watch('a');
    await states.next();
    bench.store.breakWatches();
    bench.store.next(calls.read, after(bench.clock, 1_000, lostRequest));
    bench.store.mendWatches();
    await bench.clock.settle();

    await states.return?.();
    await bench.clock.advance(1_000);

    expect(lines).toEqual([]);
    expect(bench.clock.timerCount).toBe(0);
  });
});
