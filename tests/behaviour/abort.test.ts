/** Tests of an abort signal that several calls share. */
import { LockTimeoutError } from 'etcd-locker';
import { expect, test } from 'vitest';
import { openFaultyMemory } from '../support/fixtures/faults.ts';
import { errorOf } from '../support/fixtures/holding.ts';

test('an abort ends all waiting calls and watches, even if another listener calls stopImmediatePropagation()', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  await locker.lock('a');
  const controller = new AbortController();
  const { signal } = controller;
  signal.addEventListener('abort', (event) => {
    event.stopImmediatePropagation();
  });
  const reason = new Error('mine');
  const waiting = [locker.lock('a', { signal }), locker.lockAll(['a', 'b'], { signal })].map(errorOf);
  const states = locker.watch('a', { signal });
  await states.next();
  const end = states.next();
  await memory.clock.settle();

  controller.abort(reason);

  expect(await Promise.all(waiting)).toEqual([reason, reason]);
  expect(await end).toEqual({ done: true, value: undefined });
});

/** A signal as polyfills of it make one: without `throwIfAborted`, and in older ones without `reason`. */
class PolyfilledSignal {
  aborted = false;
  declare reason: unknown;
  readonly #listeners = new Set<() => void>();

  addEventListener(_type: string, listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_type: string, listener: () => void): void {
    this.#listeners.delete(listener);
  }

  abort(...reason: readonly unknown[]): void {
    this.aborted = true;
    if (reason.length > 0) [this.reason] = reason;
    for (const listener of [...this.#listeners]) listener();
  }

  get listenerCount(): number {
    return this.#listeners.size;
  }
}

test.each([
  ['with a reason', [new Error('mine')], { message: 'mine' }],
  ['without a reason', [], { name: 'AbortError' }],
] as const)('a polyfilled signal without throwIfAborted() ends calls, %s', async (_, reason, expected) => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  const polyfilled = new PolyfilledSignal();
  const signal = polyfilled as unknown as AbortSignal;
  const held = await locker.lock('a', { signal });
  await (await locker.tryLock('b', { signal }))?.release();
  await (await locker.lockAll(['b', 'c'], { signal })).release();
  const waiting = [
    locker.lock('a', { signal }),
    locker.tryLock('a', { signal, timeoutMs: 60_000 }),
    locker.lockAll(['a', 'b'], { signal }),
  ].map(errorOf);
  const states = locker.watch('a', { signal });
  await states.next();
  const end = states.next();
  await memory.clock.settle();

  polyfilled.abort(...reason);

  expect(await Promise.all(waiting)).toMatchObject([expected, expected, expected]);
  expect(await end).toEqual({ done: true, value: undefined });
  expect(polyfilled.listenerCount).toBe(0);
  const late = [locker.lock('d', { signal }), locker.tryLock('d', { signal }), locker.lockAll(['d'], { signal })].map(errorOf);
  expect(await Promise.all(late)).toMatchObject([expected, expected, expected]);
  expect(await locker.watch('a', { signal }).next()).toEqual({ done: true, value: undefined });
  expect(held.held).toBe(true);
});

test('a try rejects with the reason of its signal, even if that is the timeout of another call', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  await memory.createLocker().lockAll(['a', 'b']);
  const reason = new LockTimeoutError('other', 1_000, undefined);
  const controller = new AbortController();
  const options = { timeoutMs: 60_000, signal: controller.signal };
  const trying = [locker.tryLock('a', options), locker.tryLockAll(['a', 'b'], options)].map(errorOf);
  await memory.clock.settle();

  controller.abort(reason);

  expect(await Promise.all(trying)).toEqual([reason, reason]);
});
