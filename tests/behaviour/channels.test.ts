/** Tests of the messages on the channels of node:diagnostics_channel. */
import diagnostics from 'node:diagnostics_channel';
import type { ChannelMessages, ChannelName, Lock } from 'etcd-locker';
import { webLocks } from 'etcd-locker/web-locks';
import { afterEach, describe, expect, test } from 'vitest';
import { calls, lostRequest, openFaultyMemory } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

const endings: (() => void)[] = [];
afterEach(() => {
  for (const end of endings.splice(0)) end();
});

function subscribe<Name extends ChannelName>(name: Name, listener: (message: ChannelMessages[Name]) => void): void {
  const onMessage = (message: unknown): void => {
    listener(message as ChannelMessages[Name]);
  };
  diagnostics.subscribe(name, onMessage);
  endings.push(() => diagnostics.unsubscribe(name, onMessage));
}

/** Returns the list that the messages of a channel come to. */
function record<Name extends ChannelName>(name: Name): ChannelMessages[Name][] {
  const messages: ChannelMessages[Name][] = [];
  // A call that ends changes the message of its start.
  subscribe(name, (message) => messages.push({ ...message }));
  return messages;
}

const describeLock = ({ name, mode, slots, key, fencingToken, leaseId }: Lock) => ({ name, mode, slots, key, fencingToken, leaseId });
const acquire = 'tracing:etcd-locker:acquire';

describe('a call that asks for locks', () => {
  test('publishes its start, its end, and its result on the channels of a TracingChannel, with one message', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const seen: [channel: string, message: unknown, result: unknown][] = [];
    for (const one of ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const) {
      subscribe(`${acquire}:${one}`, (message) => seen.push([one, message, message.result]));
    }

    const lock = await locker.lock('a', { timeoutMs: 5_000 });

    expect(seen.map(([channel, , result]) => [channel, result])).toEqual([
      ['start', undefined],
      ['end', undefined],
      ['asyncStart', 'acquired'],
      ['asyncEnd', 'acquired'],
    ]);
    expect(new Set(seen.map(([, message]) => message)).size).toBe(1);
    expect(seen[0]?.[1]).toEqual({
      operation: 'lock',
      names: ['a'],
      mode: 'exclusive',
      slots: 1,
      timeoutMs: 5_000,
      result: 'acquired',
      waitMs: 0,
      locks: [describeLock(lock)],
    });
  });

  test('says how it ended', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const holder = await memory.createLocker().lockAll(['a', 'b']);
    const ended = record(`${acquire}:asyncEnd`);
    const errors = record(`${acquire}:error`);
    const controller = new AbortController();

    expect(await locker.tryLock('a')).toBeNull();
    expect(await locker.tryLockAll(['b', 'c'])).toBeNull();
    const waiting = [locker.lock('a', { timeoutMs: 1_000 }), locker.lock('a', { signal: controller.signal }), locker.lockAll(['c', 'a'])];
    const outcomes = Promise.all(waiting.map(errorOf));
    await memory.clock.advance(1_000);
    controller.abort();
    await memory.clock.settle();
    await locker.close();
    await outcomes;
    await holder.release();

    expect(ended.map(({ operation, names, result, waitMs, locks }) => [operation, names, result, waitMs, locks])).toEqual([
      ['tryLock', ['a'], 'busy', 0, undefined],
      ['tryLockAll', ['b', 'c'], 'busy', 0, undefined],
      ['lock', ['a'], 'timeout', 1_000, undefined],
      ['lock', ['a'], 'aborted', 1_000, undefined],
      ['lockAll', ['c', 'a'], 'closed', 1_000, undefined],
    ]);
    expect(errors.map(({ error }) => error)).toEqual(ended.flatMap(({ error }) => error ?? []));
    expect(errors).toHaveLength(3);
  });

  test('ended by an abort if its signal is that of a lock that was lost', async () => {
    await using memory = await openFaultyMemory();
    const ended = record(`${acquire}:asyncEnd`);
    const locker = memory.createLocker();
    await memory.createLocker().lock('busy');
    const { signal } = await locker.lock('a', { maxHoldMs: 1_000 });
    const waiting = errorOf(locker.lock('busy', { signal }));

    await memory.clock.advance(1_000);

    expect(await waiting).toMatchObject({ code: 'LOCK_LOST', lockName: 'a' });
    expect(ended.at(-1)).toMatchObject({ names: ['busy'], result: 'aborted' });
  });

  test('is published for each kind of call, and for requests of Web Locks', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const ended = record(`${acquire}:asyncEnd`);

    const multi = await locker.lockAll(['b', 'a'], { mode: 'shared' });
    await locker.withLock('c', { slots: 3 }, () => undefined);
    await locker.tryLock('d', { timeoutMs: 10 });
    await locker.lead('f', () => undefined);
    await webLocks(locker).request('e', () => undefined);
    await webLocks(locker).request('d', { ifAvailable: true }, () => undefined);

    expect(ended.map(({ operation, names, mode, slots, result }) => [operation, names, mode, slots, result])).toEqual([
      ['lockAll', ['b', 'a'], 'shared', Infinity, 'acquired'],
      ['lock', ['c'], 'shared', 3, 'acquired'],
      ['tryLock', ['d'], 'exclusive', 1, 'acquired'],
      ['lead', ['f'], 'exclusive', 1, 'acquired'],
      ['web-locks', ['e'], 'exclusive', 1, 'acquired'],
      ['web-locks', ['d'], 'exclusive', 1, 'busy'],
    ]);
    expect(ended[0]?.locks).toEqual(multi.locks.map(describeLock));
  });

  test('has no result in its message that a subscriber could keep the lock by', async () => {
    await using memory = await openFaultyMemory();
    const ended = record(`${acquire}:asyncEnd`);

    const lock = await memory.createLocker({ value: 'alice@example.com' }).lock('a');
    await lock.release();

    expect(JSON.stringify(ended, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))).not.toContain('alice');
    expect(Object.values(ended[0] ?? {})).not.toContain(lock);
  });
});

describe('a held lock', () => {
  test('is published with its wait, and its release with the time of its hold', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const before = await memory.createLocker().lock('before');
    const [held, released] = [record('etcd-locker:held'), record('etcd-locker:released')];
    const first = await memory.createLocker().lock('a');
    const locking = locker.lock('a');
    await memory.clock.advance(3_000);
    await first.release();
    const lock = await locking;
    await memory.clock.advance(2_000);
    await lock.release();
    await before.release();

    expect(held).toEqual([
      { ...describeLock(first), waitMs: 0 },
      { ...describeLock(lock), waitMs: 3_000 },
    ]);
    expect(released).toEqual([
      { ...describeLock(first), heldMs: 3_000, cause: 'release' },
      { ...describeLock(lock), heldMs: 2_000, cause: 'release' },
      // Nobody listened when it was acquired.
      { ...describeLock(before), heldMs: undefined, cause: 'release' },
    ]);
  });

  test.each([
    ['expired', (memory: Memory) => memory.clock.advance(20_000)],
    [
      'deleted',
      async (memory: Memory, lock: Lock) => {
        memory.etcd.commit({ compare: [], then: [{ delete: { key: lock.key } }], otherwise: [] });
        await memory.clock.advance(20_000);
      },
    ],
    ['max-hold', (memory: Memory) => memory.clock.advance(60_000)],
    ['closed', (_: Memory, __: Lock, close: () => Promise<void>) => close()],
  ] as const)('is published as lost: %s', async (reason, lose) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const [lost, released] = [record('etcd-locker:lost'), record('etcd-locker:released')];
    const lock = await locker.lock('a', { maxHoldMs: reason === 'max-hold' ? 60_000 : undefined });
    if (reason === 'expired') memory.store.every(calls.renew, lostRequest);

    await lose(memory, lock, locker.close);
    await memory.clock.settle();

    expect(lost).toHaveLength(1);
    expect(lost[0]).toMatchObject({ ...describeLock(lock), reason, error: lock.signal.reason as unknown });
    expect(released).toEqual([]);
  });
});

type Memory = Awaited<ReturnType<typeof openFaultyMemory>>;

test('failed renewals are published with the time that is left, and the renewal that counts again', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  const [failed, recovered] = [record('etcd-locker:renewal-failed'), record('etcd-locker:renewal-recovered')];
  const lock = await locker.lock('a');
  const heal = memory.store.every(calls.renew, lostRequest);

  await memory.clock.advance(8_000);
  heal();
  await memory.clock.advance(3_000);

  expect(lock.held).toBe(true);
  expect(failed.length).toBeGreaterThan(2);
  expect(failed[0]).toMatchObject({ leaseId: lock.leaseId, ttlMs: 15_000, locks: 1, failures: 1, error: expect.any(Error) as unknown });
  expect(failed[0]?.remainingMs).toBeGreaterThan(failed.at(-1)?.remainingMs ?? Infinity);
  expect(recovered).toEqual([
    { leaseId: lock.leaseId, ttlMs: 15_000, locks: 1, failures: failed.length, remainingMs: expect.any(Number) as number },
  ]);
});

describe('a subscriber', () => {
  test('may release the lock and close the locker in the middle of an event', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const locks = new Map<string, Lock>();
    const events: string[] = [];
    subscribe('etcd-locker:held', ({ name, key }) => {
      events.push(`held ${name}`);
      void locks.get(key)?.release();
      if (name === 'b') void locker.close();
      else void locker.lock('b').catch(() => undefined);
    });
    subscribe('etcd-locker:released', ({ name }) => {
      events.push(`released ${name}`);
      void locks.get(name)?.release();
    });
    subscribe('etcd-locker:lost', ({ name }) => events.push(`lost ${name}`));

    const lock = await locker.lock('a');
    locks.set('a', lock);
    const waiting = follow(other.lock('a'));
    await memory.clock.settle();
    await lock.release();
    await memory.clock.settle();

    expect(waiting.value?.held).toBe(true);
    expect(events).toEqual(['held a', 'held b', 'lost a', 'lost b', 'held a']);
    expect(lock.held).toBe(false);
  });

  test('runs after the step that it is about: the caller has its lock, and the next caller its turn', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const lock = await locker.lock('a');
    const next = follow(locker.lock('a'));
    const order: string[] = [];
    subscribe('etcd-locker:released', () => order.push('subscriber'));

    const released = lock.release();
    order.push('release() returned');
    await released;
    await memory.clock.settle();

    expect(order).toEqual(['release() returned', 'subscriber']);
    expect(next.value?.held).toBe(true);
  });

  test('sends no request', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const use = async (): Promise<number> => {
      const before = memory.store.calls.length;
      await locker.withLock('a', () => undefined);
      return memory.store.calls.length - before;
    };
    await use();
    const without = await use();
    for (const channel of ['held', 'released', 'lost'] as const) record(`etcd-locker:${channel}`);
    record(`${acquire}:start`);

    expect(await use()).toBe(without);
    expect(without).toBe(2);
  });
});
