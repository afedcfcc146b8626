/** Tests of the error classes: codes, messages and fields. */
import {
  EtcdAuthError,
  EtcdRefusedError,
  EtcdUnavailableError,
  InvalidOptionsError,
  isLockerError,
  LockerClosedError,
  LockerError,
  LockLostError,
  LockReleasedError,
  LockTimeoutError,
} from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { OutcomeUnknownError } from '../../src/errors.ts';

const hosts = [
  { host: 'a:1', reason: 'ECONNREFUSED' },
  { host: 'b:1', reason: 'no answer within 800 ms' },
];

const all = [
  [
    new InvalidOptionsError('create locker', [
      { path: 'ttlMs', message: 'expected at least 2000 ms' },
      { path: '', message: 'expected an object' },
    ]),
    'INVALID_OPTIONS',
    'Cannot create locker: ttlMs: expected at least 2000 ms; expected an object',
  ],
  [new LockTimeoutError('a"b', 300, undefined), 'LOCK_TIMEOUT', 'Cannot lock "a\\"b" within 300 ms: still waiting'],
  [new LockTimeoutError('a', 300, 'host:1'), 'LOCK_TIMEOUT', 'Cannot lock "a" within 300 ms: held by "host:1"'],
  [new LockLostError('a', 7n, 'expired'), 'LOCK_LOST', 'Cannot keep lock "a" (token 7): its lease may have expired'],
  [new LockLostError('a', 7n, 'deleted'), 'LOCK_LOST', 'Cannot keep lock "a" (token 7): its key in etcd was deleted'],
  [new LockLostError('a', 7n, 'max-hold'), 'LOCK_LOST', 'Cannot keep lock "a" (token 7): it was held for longer than maxHoldMs'],
  [new LockLostError('a', 7n, 'closed'), 'LOCK_LOST', 'Cannot keep lock "a" (token 7): its locker was closed'],
  [new LockReleasedError('a'), 'LOCK_RELEASED', 'Cannot use lock "a": it was released'],
  [new LockerClosedError(), 'LOCKER_CLOSED', 'Cannot use the locker: it is closed'],
  [
    new EtcdUnavailableError(5_000, hosts),
    'ETCD_UNAVAILABLE',
    'Cannot reach etcd within 5000 ms: a:1 (ECONNREFUSED), b:1 (no answer within 800 ms)',
  ],
  [new EtcdUnavailableError(5_000, []), 'ETCD_UNAVAILABLE', 'Cannot reach etcd within 5000 ms: no response'],
  [
    new EtcdAuthError('locks/', 'permission denied'),
    'ETCD_AUTH',
    'Cannot use etcd: permission denied; the role needs readwrite permission for the prefix "locks/"',
  ],
  [new EtcdRefusedError('no space'), 'ETCD_REFUSED', 'Cannot use etcd: it refused the request: no space'],
] as const;

describe('errors', () => {
  test.each(all)('%s has its code and message', (error, code, message) => {
    expect(error).toBeInstanceOf(LockerError);
    expect(error).toBeInstanceOf(Error);
    expect(isLockerError(error)).toBe(true);
    expect(error.code).toBe(code);
    expect(error.message).toBe(message);
    expect(String(error)).toBe(`${error.constructor.name}: ${message}`);
    expect(error.stack).toContain(error.name);
  });

  test('errors have fields for the lock, the time limit, the hosts and the options', () => {
    expect(new LockTimeoutError('a', 300, 'v')).toMatchObject({ lockName: 'a', timeoutMs: 300, holder: 'v' });
    expect(new LockLostError('a', 7n, 'closed')).toMatchObject({ lockName: 'a', fencingToken: 7n, reason: 'closed' });
    expect(new EtcdUnavailableError(1, hosts).hosts).toBe(hosts);
    expect(new EtcdAuthError('p/', 'x').prefix).toBe('p/');
    expect(new InvalidOptionsError('lock', [{ path: 'a', message: 'b' }]).issues).toEqual([{ path: 'a', message: 'b' }]);
  });

  test('LockTimeoutError shortens a long value of the holder in its message, not in its field', () => {
    const error = new LockTimeoutError('a', 1, 'x'.repeat(65_536));

    expect(error.message.length).toBeLessThan(300);
    expect(error.holder).toHaveLength(65_536);
  });

  test('isLockerError() is true for an error of another copy of the package', () => {
    const brand = Object.getOwnPropertySymbols(new LockerClosedError()).find((symbol) => Symbol.keyFor(symbol) !== undefined);
    const foreign = Object.assign(new Error('from the other build'), { code: 'LOCKER_CLOSED', [brand ?? '']: true });

    expect(brand).toBeDefined();
    expect(foreign).not.toBeInstanceOf(LockerError);
    expect(isLockerError(foreign)).toBe(true);
  });

  test.each([undefined, null, 'LOCK_LOST', 7, {}, new Error('x'), { code: 'LOCK_LOST' }, new OutcomeUnknownError([])])(
    'isLockerError() is false for %s',
    (value) => {
      expect(isLockerError(value)).toBe(false);
    },
  );
});
