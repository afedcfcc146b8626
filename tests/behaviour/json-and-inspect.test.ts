/** Tests of what JSON.stringify and util.inspect show of results and errors. */
import {
  type AnyLockerError,
  ClientLoadError,
  EtcdAuthError,
  EtcdRefusedError,
  EtcdUnavailableError,
  InvalidOptionsError,
  LockerClosedError,
  LockLostError,
  LockReleasedError,
  LockTimeoutError,
} from 'etcd-locker';
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { toJson } from '../../src/cli/states.ts';
import { openFaultyMemory } from '../support/fixtures/faults.ts';

const throughJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('JSON.stringify()', () => {
  test('writes a lock with its name, key, token and state', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('orders/42', { value: 'me' });
    const { key, fencingToken, leaseId, remainingMs } = lock;

    expect(throughJson(lock)).toEqual({
      ...{ name: 'orders/42', mode: 'exclusive', slots: 1, key, value: 'me' },
      ...{ fencingToken: String(fencingToken), leaseId, held: true, remainingMs },
    });

    await lock.release();
    expect(throughJson(lock)).toMatchObject({ held: false, remainingMs: 0 });
  });

  test('writes the locks of lockAll()', async () => {
    await using memory = await openFaultyMemory();
    const locks = await memory.createLocker().lockAll(['a', 'b'], { mode: 'shared' });

    expect(throughJson(locks)).toMatchObject({
      held: true,
      locks: locks.locks.map(({ name, fencingToken }) => ({ name, slots: null, fencingToken: String(fencingToken) })),
    });
  });

  test('writes states and their contenders as the command does, and they stay plain objects', async () => {
    await using memory = await openFaultyMemory();
    const [locker, other] = [memory.createLocker(), memory.createLocker()];
    const lock = await locker.lock('a', { mode: 'shared' });
    const waiting = other.lock('a').catch(() => undefined);
    await memory.clock.settle();
    const details = await locker.inspect('a');
    const { value: watched } = (await locker.watch('a').next()) as { value: typeof details };
    const { value: listed } = (await locker.list().next()) as { value: typeof details };

    for (const state of [details, watched, listed]) {
      expect(`${JSON.stringify(state)}\n`).toBe(toJson(state));
      expect(throughJson(state)).toMatchObject({
        revision: String(state.revision),
        holders: [{ fencingToken: String(lock.fencingToken), slots: null }],
      });
      assert.deepEqual(state, { ...state, holders: state.holders.map((holder) => ({ ...holder })) });
      expect(Object.keys(state)).not.toContain('toJSON');
      expect(structuredClone(state)).toEqual(state);
    }
    expect(throughJson(details.waiters[0])).toMatchObject({ fencingToken: String(details.waiters[0]?.fencingToken) });
    await Promise.all([locker.close(), other.close()]);
    await waiting;
  });

  const unavailable = new EtcdUnavailableError(5_000, [{ host: 'a:1', reason: 'ECONNREFUSED' }]);
  const errors: readonly (readonly [AnyLockerError, fields: object])[] = [
    [new InvalidOptionsError('lock', [{ path: 'ttlMs', message: 'x' }]), { issues: [{ path: 'ttlMs', message: 'x' }] }],
    [
      new LockTimeoutError('a', 300, 'me', { cause: unavailable }),
      { lockName: 'a', timeoutMs: 300, holder: 'me', cause: { code: 'ETCD_UNAVAILABLE' } },
    ],
    [new LockLostError('a', 2n ** 60n, 'expired'), { lockName: 'a', fencingToken: '1152921504606846976', reason: 'expired' }],
    [new LockReleasedError('a'), { lockName: 'a' }],
    [new LockerClosedError(), {}],
    [unavailable, { hosts: [{ host: 'a:1', reason: 'ECONNREFUSED' }] }],
    [new EtcdAuthError('locks/', 'no'), { prefix: 'locks/' }],
    [new EtcdRefusedError('no space', { cause: new TypeError('a\nb') }), { isFinal: false, cause: 'TypeError: a b' }],
    [new ClientLoadError(Object.assign(new Error('ENOENT'), { size: 1n })), { cause: 'Error: ENOENT' }],
  ];
  test.each(errors)('writes the name, code, message and fields of %s', (error, fields) => {
    const { name, code, message } = error;

    expect(throughJson({ error })).toMatchObject({ error: { name, code, message, ...fields } });
    expect(JSON.stringify(error)).not.toContain('stack');
  });
});

describe('util.inspect()', () => {
  test('shows the name, key and token of a lock, and whether it is held', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('orders/42');
    const token = String(lock.fencingToken);

    expect(inspect(lock, { breakLength: Infinity })).toBe(
      `Lock { name: 'orders/42', key: '${lock.key}', fencingToken: ${token}n, held: true }`,
    );
    await lock.release();
    expect(inspect({ lock })).toContain('held: false');
  });

  test('shows the locks of lockAll()', async () => {
    await using memory = await openFaultyMemory();
    const locks = await memory.createLocker().lockAll(['a', 'b']);

    expect(inspect(locks)).toMatch(/^MultiLock \{[^]*Lock \{[^]*name: 'a'[^]*Lock \{[^]*name: 'b'[^]*held: true[^]*\}$/);
  });

  test('shows a lost lock as not held', async () => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a');

    memory.clock.freeze(60_000);

    expect(inspect(lock)).toContain('held: false');
  });
});
