/** Tests of watch() without a name: the states of all names. */
import type { LockState } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { after, calls, type FaultyMemory, openFaultyMemory, respondsAfter } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

function put(memory: FaultyMemory, path: string, value: string): void {
  memory.etcd.commit({ compare: [], then: [{ put: { key: `locks/${path}`, value, leaseId: '0' } }], otherwise: [] });
}

function remove(memory: FaultyMemory, ...paths: readonly string[]): void {
  const then = paths.map((path) => ({ delete: { key: `locks/${path}` } }));
  memory.etcd.commit({ compare: [], then, otherwise: [] });
}

const describeState = ({ name, holders }: LockState): string => `${name}: ${holders.map(({ value }) => value).join(' and ')}`;

/** Reads until the watch ends. Returns the array of all states so far. */
function collect(states: AsyncIterable<LockState>): string[] {
  const seen: string[] = [];
  void (async () => {
    for await (const state of states) seen.push(describeState(state));
  })();
  return seen;
}

describe('watch() without a name', () => {
  test('reports the held names first, in the order of their keys, and then each change', async () => {
    await using memory = await openFaultyMemory();
    for (const name of ['b', 'a', 'c']) put(memory, `${name}/1`, 'first');
    const seen = collect(memory.createLocker().watch());
    await memory.clock.settle();
    expect(seen.splice(0)).toEqual(['a: first', 'b: first', 'c: first']);

    put(memory, 'd/1', 'new');
    put(memory, 'b/1', 'changed');
    remove(memory, 'a/1');
    await memory.clock.settle();
    expect(seen.splice(0)).toEqual(['d: new', 'b: changed', 'a: ']);
    remove(memory, 'b/1', 'c/1', 'd/1');
    await memory.clock.settle();

    expect(seen).toEqual(['b: ', 'c: ', 'd: ']);
  });

  test('reports a waiter only when it becomes the holder', async () => {
    await using memory = await openFaultyMemory();
    const seen = collect(memory.createLocker().watch());
    put(memory, 'a/1', 'first');
    await memory.clock.settle();
    put(memory, 'a/2', 'second');
    await memory.clock.settle();
    expect(seen).toEqual(['a: first']);

    remove(memory, 'a/1');
    await memory.clock.settle();

    expect(seen).toEqual(['a: first', 'a: second']);
    remove(memory, 'a/2');
  });

  test('reports only names that begin with startsWith, and no key that is in no queue', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const seen = collect(locker.watch({ startsWith: 'orders/' }));
    const all = collect(locker.watch());

    const lock = await locker.lock('orders/1', { value: 'one' });
    put(memory, 'order/1', 'other');
    put(memory, 'plain', 'no entry');
    put(memory, 'a%2/1', 'no name');
    await memory.clock.settle();
    await lock.release();
    await locker.withLock('orders/2', () => memory.clock.settle());
    await memory.clock.settle();

    expect(seen).toEqual(['orders/1: one', 'orders/1: ', expect.stringMatching(/^orders\/2: ./), 'orders/2: ']);
    expect(all.filter((state) => !state.startsWith('orders/'))).toEqual(['order: other']);
    remove(memory, 'order/1', 'plain', 'a%2/1');
  });

  test('reports what changed during the first read, and nothing that this read includes', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'a/1', 'first');
    memory.store.next(calls.read, respondsAfter(memory.clock, 1_000));
    const early = collect(memory.createLocker().watch());
    memory.store.next(calls.read, after(memory.clock, 1_000));
    const late = collect(memory.createLocker().watch());
    await memory.clock.advance(500);

    put(memory, 'a/1', 'second');
    put(memory, 'b/1', 'new');
    await memory.clock.advance(500);

    expect(early).toEqual(['a: second', 'b: new']);
    expect(late).toEqual(['a: second', 'b: new']);
    remove(memory, 'a/1', 'b/1');
  });

  test('reports after a break what changed meanwhile: new holders, new names, and names that became free', async () => {
    await using memory = await openFaultyMemory();
    for (const name of ['a', 'b', 'c']) put(memory, `${name}/1`, 'before');
    const seen = collect(memory.createLocker().watch());
    await memory.clock.settle();
    seen.splice(0);

    memory.store.breakWatches();
    remove(memory, 'a/1');
    put(memory, 'b/1', 'after');
    put(memory, 'd/1', 'new');
    memory.store.restoreWatches();
    await memory.clock.settle();

    expect(seen.sort()).toEqual(['a: ', 'b: after', 'd: new']);
    remove(memory, 'b/1', 'c/1', 'd/1');
  });

  test('reports the state after a restore from a snapshot', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'a/1', 'kept');
    put(memory, 'b/1', 'restored');
    const snapshot = memory.etcd.snapshot();
    remove(memory, 'b/1');
    put(memory, 'c/1', 'lost');
    const seen = collect(memory.createLocker().watch());
    await memory.clock.settle();
    expect(seen.splice(0)).toEqual(['a: kept', 'c: lost']);

    memory.etcd.restore(snapshot);
    await memory.clock.settle();

    expect(seen.sort()).toEqual(['b: restored', 'c: ']);
    remove(memory, 'a/1', 'b/1');
  });

  test('reports the newest state of each name to a slow reader, and nothing of names that came and went', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'a/1', 'old');
    const states = memory.createLocker().watch();
    await states.next();
    for (let count = 0; count < 1_000; count += 1) {
      put(memory, 'a/1', String(count));
      put(memory, 'b/1', String(count));
      put(memory, `passing-${String(count)}/1`, 'short');
      remove(memory, `passing-${String(count)}/1`);
    }
    await memory.clock.settle();

    const seen = [await states.next(), await states.next()];
    const next = follow(states.next());
    await memory.clock.settle();

    expect(seen.map(({ value }) => describeState(value as LockState))).toEqual(['a: 999', 'b: 999']);
    expect(next.isSettled).toBe(false);
    remove(memory, 'a/1', 'b/1');
    expect((await next.promise).value).toMatchObject({ name: 'a', held: false });
    expect((await states.next()).value).toMatchObject({ name: 'b', held: false });
  });

  test('reports a name again that was free in between, even with the same value', async () => {
    await using memory = await openFaultyMemory();
    const seen = collect(memory.createLocker().watch());
    for (let round = 0; round < 2; round += 1) {
      put(memory, 'a/1', 'same');
      await memory.clock.settle();
      remove(memory, 'a/1');
      await memory.clock.settle();
    }

    expect(seen).toEqual(['a: same', 'a: ', 'a: same', 'a: ']);
  });

  test('applies all changes of one revision before it reports', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'a/1', 'first');
    const seen = collect(memory.createLocker().watch());
    await memory.clock.settle();

    const next = { put: { key: 'locks/a/2', value: 'second', leaseId: '0' } };
    memory.etcd.commit({ compare: [], then: [{ delete: { key: 'locks/a/1' } }, next], otherwise: [] });
    await memory.clock.settle();

    expect(seen).toEqual(['a: first', 'a: second']);
    remove(memory, 'a/2');
  });

  test('has one watch in etcd, and reports to all pending calls of next() in order', async () => {
    await using memory = await openFaultyMemory();
    for (const name of ['a', 'b']) put(memory, `${name}/1`, name);
    const states = memory.createLocker().watch();

    const [first, second, third] = [follow(states.next()), follow(states.next()), follow(states.next())];
    await memory.clock.settle();

    expect(memory.etcd.watchCount).toBe(1);
    expect([first.value?.value, second.value?.value]).toMatchObject([{ name: 'a' }, { name: 'b' }]);
    expect(third.isSettled).toBe(false);
    await states.return();
    expect(await third.promise).toMatchObject({ done: true });
    expect(memory.etcd.watchCount).toBe(0);
    remove(memory, 'a/1', 'b/1');
  });

  test('is refused for a name that is undefined by mistake', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const name = process.env['ETCD_LOCKER_NO_SUCH_NAME'];

    expect(() => locker.watch(name as never)).toThrow(
      'Cannot watch: expected a name or an object of options, got undefined; watch() without an argument takes all names',
    );
    expect(() => locker.watch(name as never, {})).toThrow(/name: expected a string, got undefined/);
  });

  test('ends without an error when its locker closes', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const states = locker.watch({});
    const next = follow(states.next());
    await memory.clock.settle();

    await locker.close();

    expect(next.value).toMatchObject({ done: true });
  });
});
