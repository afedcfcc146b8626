/** Tests of `current`: watch() says when its state may be old, and waits for its first state. */
import type { LockState, LockStateIterator } from 'etcd-locker';
import { describe, expect, test, vi } from 'vitest';
import {
  after,
  calls,
  type FaultyMemory,
  hangs,
  lostRequest,
  openFaultyMemory,
  refused,
  respondsAfter,
  spaceRefusal,
  unreachable,
} from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

function put(memory: FaultyMemory, value: string): void {
  memory.etcd.commit({ compare: [], then: [{ put: { key: 'locks/a/1', value, leaseId: '0' } }], otherwise: [] });
}

function remove(memory: FaultyMemory): void {
  memory.etcd.commit({ compare: [], then: [{ delete: { key: 'locks/a/1' } }], otherwise: [] });
}

/** Reads until the watch ends. Returns the array of all states so far: the value of the holder, and a question mark if it may be old. */
function collect(states: AsyncIterable<LockState>): string[] {
  const seen: string[] = [];
  void (async () => {
    for await (const { holders, current } of states) seen.push(`${holders[0]?.value ?? 'free'}${current ? '' : '?'}`);
  })();
  return seen;
}

describe.each([
  ['a name', (memory: FaultyMemory) => memory.createLocker().watch('a')],
  ['all names', (memory: FaultyMemory) => memory.createLocker().watch()],
])('watch() of %s', (_, watch) => {
  test('reports its state as old once etcd has been silent for requestTimeoutMs, and as current after the next response', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'x');
    const seen = collect(watch(memory));
    await memory.clock.settle();
    memory.store.breakWatches();

    await memory.clock.advance(4_999);
    expect(seen).toEqual(['x']);
    await memory.clock.advance(1);
    expect(seen).toEqual(['x', 'x?']);
    await memory.clock.advance(600_000);
    expect(seen).toEqual(['x', 'x?']);
    memory.store.restoreWatches();
    await memory.clock.settle();

    expect(seen).toEqual(['x', 'x?', 'x']);
    remove(memory);
  });

  test('reports its state as old again in the next outage', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'x');
    const seen = collect(watch(memory));
    await memory.clock.settle();

    for (let round = 0; round < 3; round += 1) {
      memory.store.breakWatches();
      await memory.clock.advance(5_000);
      memory.store.restoreWatches();
      await memory.clock.settle();
    }

    expect(seen).toEqual(['x', 'x?', 'x', 'x?', 'x', 'x?', 'x']);
    remove(memory);
  });

  test('counts a state as old until a read after the break is answered', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'x');
    const seen = collect(watch(memory));
    await memory.clock.settle();
    memory.store.breakWatches();
    put(memory, 'y');
    const endFault = memory.store.every(calls.read, unreachable(memory.clock));
    memory.store.restoreWatches();

    await memory.clock.advance(20_000);
    expect(seen).toEqual(['x', 'x?']);
    endFault();
    await memory.clock.advance(7_000);

    expect(seen).toEqual(['x', 'x?', 'y']);
    remove(memory);
  });

  test('reports a state as old after requestTimeoutMs if etcd never confirms the watch', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'x');
    memory.store.breakWatches();
    const seen = collect(watch(memory));

    await memory.clock.advance(4_999);
    expect(seen).toEqual(['x']);
    await memory.clock.advance(1);
    expect(seen).toEqual(['x', 'x?']);
    memory.store.restoreWatches();
    await memory.clock.settle();

    expect(seen).toEqual(['x', 'x?', 'x']);
    remove(memory);
  });

  test('reports nothing in an outage that is shorter than requestTimeoutMs', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'x');
    const seen = collect(watch(memory));
    await memory.clock.settle();

    memory.store.breakWatches();
    await memory.clock.advance(4_000);
    memory.store.restoreWatches();
    await memory.clock.advance(60_000);

    expect(seen).toEqual(['x']);
    remove(memory);
  });

  test('waits for its first state through any outage', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'x');
    memory.store.breakWatches();
    const endFault = memory.store.every(calls.read, unreachable(memory.clock));
    const states = watch(memory);
    const first = follow(states.next());

    await memory.clock.advance(600_000);
    expect(first.isSettled).toBe(false);
    expect(memory.clock.isHeld).toBe(true);
    endFault();
    memory.store.restoreWatches();
    await memory.clock.advance(7_000);

    expect((await first.promise).value).toMatchObject({ held: true, current: true });
    await states.return();
    remove(memory);
  });

  test.each([
    [
      'its signal aborts',
      (_: LockStateIterator, controller: AbortController): unknown => {
        controller.abort();
        return undefined;
      },
    ],
    ['its loop ends', (states: LockStateIterator): unknown => states.return()],
  ])('waits for its first state no longer when %s', async (_case, end) => {
    await using memory = await openFaultyMemory();
    const controller = new AbortController();
    memory.store.every(calls.read, lostRequest);
    const states = memory.createLocker().watch('a', { signal: controller.signal });
    const first = follow(states.next());
    await memory.clock.advance(60_000);

    end(states, controller);
    await memory.clock.settle();

    expect(first).toMatchObject({ isSettled: true, value: { done: true } });
    expect(memory.clock.timerCount).toBe(0);
  });

  test('waits while etcd refuses its first read for a reason that may pass', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'x');
    memory.store.next(calls.read, refused(spaceRefusal), lostRequest, after(memory.clock, 100));
    const seen = collect(watch(memory));

    await memory.clock.advance(3_000);

    expect(seen).toEqual(['x']);
    remove(memory);
  });

  test('leaves no timer when it ends while its state is old', async () => {
    await using memory = await openFaultyMemory();
    put(memory, 'x');
    const states = watch(memory);
    await states.next();
    memory.store.breakWatches();
    await memory.clock.advance(1_000);
    expect(memory.clock.timerCount).toBe(1);

    await states.return();

    expect(memory.clock.timerCount).toBe(0);
    remove(memory);
  });
});

test('watch() counts the silence from the last response before the break', async () => {
  await using memory = await openFaultyMemory();
  const watched = vi.spyOn(memory.store, 'watch');
  const seen = collect(memory.createLocker().watch('a'));
  await memory.clock.settle();
  const listener = watched.mock.calls[0]?.[1];

  listener?.broken?.(3_000);
  // The second break proves no response in between.
  listener?.broken?.(0);
  await memory.clock.advance(1_999);
  expect(seen).toEqual(['free']);
  await memory.clock.advance(1);

  expect(seen).toEqual(['free', 'free?']);
});

test('watch() reports an outage that is over to a slow reader only if the holders have changed', async () => {
  await using memory = await openFaultyMemory();
  put(memory, 'x');
  const states = memory.createLocker().watch('a');
  await states.next();
  memory.store.breakWatches();
  await memory.clock.advance(5_000);
  memory.store.restoreWatches();
  await memory.clock.settle();

  const next = follow(states.next());
  await memory.clock.settle();

  expect(next.isSettled).toBe(false);
  remove(memory);
  expect((await next.promise).value).toMatchObject({ held: false, current: true });
});

test('an idle watch() sends no request, and sets no timer', async () => {
  await using memory = await openFaultyMemory();
  await memory.createLocker().watch('a').next();
  void memory.createLocker().watch().next();
  const before = memory.store.calls.length;

  await memory.clock.advance(600_000);

  expect(memory.store.calls).toHaveLength(before);
  expect(memory.clock.timerCount).toBe(0);
});

test('inspect() and list() report current states', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  await locker.lock('a');
  memory.store.every(calls.read, respondsAfter(memory.clock, 1));

  const [inspected, listed] = [follow(locker.inspect('a')), follow(locker.list().next())];
  await memory.clock.advance(10);

  expect(inspected.value).toMatchObject({ held: true, current: true });
  expect(listed.value).toMatchObject({ value: { held: true, current: true } });
  memory.store.every(calls.read, hangs);
});
