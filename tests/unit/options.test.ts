/** Tests of the option checks: each invalid option is reported, and no error shows a secret. */
import { createLocker, InvalidOptionsError, type LockerOptions, type LockOptions, type OptionIssue } from 'etcd-locker';
import { ManualClock, memoryStore } from 'etcd-locker/testing';
import { createPrivateKey } from 'node:crypto';
import { hostname } from 'node:os';
import { describe, expect, test } from 'vitest';
import { resolveLockerOptions } from '../../src/options/options.ts';
import { makeAuthority } from '../support/fixtures/certificates.ts';
import { openFaultyMemory } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

const store = memoryStore({ clock: new ManualClock() });
const authority = makeAuthority('test CA');
const pem = authority.certificate;
const { certificate: certChain, privateKey } = authority.issue({ commonName: 'locker' });
const other = authority.issue({ commonName: 'another' });
const encrypted = createPrivateKey(privateKey).export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'hunter2' });
const credentials = { rootCertificate: pem, privateKey, certChain };

function issuesOf(options: unknown): readonly OptionIssue[] {
  try {
    createLocker(options as LockerOptions);
  } catch (error) {
    if (error instanceof InvalidOptionsError) return error.issues;
    throw error;
  }
  return expect.unreachable('the options must be invalid');
}

const invalid: readonly (readonly [description: string, options: unknown, path: string, expected: RegExp])[] = [
  ['an unknown option', { hots: 'a:1' }, 'hots', /^unknown option$/],
  ['an option of lock()', { slots: 3 }, 'slots', /^unknown option$/],
  ['a string', 'localhost:2379', '', /^expected an object of options, got "localhost:2379"$/],
  ['null', null, '', /^expected an object of options, got null$/],
  ['hosts of a wrong type', { hosts: 2379 }, 'hosts', /^expected a host or an array of hosts, got 2379$/],
  ['empty hosts', { hosts: [] }, 'hosts', /^expected at least one host, got an empty array$/],
  ['an empty host', { hosts: '' }, 'hosts', /^expected one host such as/],
  ['an empty host among others', { hosts: ['a:1', ''] }, 'hosts[1]', /^expected one host such as/],
  ['a host that is a number', { hosts: ['a:1', 2] }, 'hosts[1]', /^expected a host, got 2$/],
  ['a host with a path', { hosts: 'http://a:1/v3' }, 'hosts', /^expected one host such as/],
  ['a host with another scheme', { hosts: 'ftp://a:1' }, 'hosts', /^expected one host such as/],
  ['a port over 65535', { hosts: ['a:65536'] }, 'hosts[0]', /^expected one host such as/],
  ['the port 0', { hosts: 'a:0' }, 'hosts', /^expected one host such as/],
  ['hosts in one string', { hosts: 'a:1,b:2' }, 'hosts', /^expected one host such as.*; give several hosts as an array/],
  ['hosts in one element', { hosts: ['a:1,b:2'] }, 'hosts[0]', /^expected one host such as.*, one host in each element$/],
  ['a bare IPv6 host', { hosts: '::1' }, 'hosts', /^expected one host such as/],
  ['a mix of http and https', { hosts: ['http://a:1', 'https://b:1'] }, 'hosts', /got a mix$/],
  ['a mix of bare and https', { hosts: ['a:1', 'https://b:1'] }, 'hosts', /got a mix$/],
  ['http with credentials', { hosts: 'http://a:1', credentials: { rootCertificate: pem } }, 'hosts', /https hosts.*got http$/],
  ['store and hosts', { store, hosts: 'a:1' }, 'hosts', /^expected either store or/],
  ['store and auth', { store, auth: { username: 'u', password: 'p' } }, 'auth', /^expected either store or/],
  ['store and credentials', { store, credentials: { rootCertificate: pem } }, 'credentials', /^expected either store or/],
  ['store and grpcOptions', { store, grpcOptions: {} }, 'grpcOptions', /^expected either store or/],
  ['an object without the methods of a store', { store: {} }, 'store', /^expected a store such as memoryStore\(\)/],
  ['ttlMs 500', { ttlMs: 500 }, 'ttlMs', /^expected at least 2000 ms, got 500$/],
  ['ttlMs 1999', { ttlMs: 1_999 }, 'ttlMs', /^expected at least 2000 ms, got 1999$/],
  ['ttlMs Infinity', { ttlMs: Infinity }, 'ttlMs', /^expected/],
  ['ttlMs NaN', { ttlMs: NaN }, 'ttlMs', /^expected a number of milliseconds, got NaN$/],
  ['ttlMs as text', { ttlMs: '15s' }, 'ttlMs', /^expected a number of milliseconds, got "15s"$/],
  ['requestTimeoutMs 0', { requestTimeoutMs: 0 }, 'requestTimeoutMs', /^expected at least 50 ms, got 0$/],
  ['requestTimeoutMs beyond timers', { requestTimeoutMs: 2 ** 31 }, 'requestTimeoutMs', /^expected at most 2147483647 ms/],
  ['a negative keepMs', { keepMs: -1 }, 'keepMs', /^expected at least 0 ms, got -1$/],
  ['an infinite keepMs', { keepMs: Infinity }, 'keepMs', /^expected/],
  ['a prefix of a wrong type', { prefix: 1 }, 'prefix', /^expected a string, got 1$/],
  ['a prefix over 1024 bytes', { prefix: 'ä'.repeat(513) }, 'prefix', /^expected at most 1024 bytes/],
  ['a malformed prefix', { prefix: 'a\uDC00' }, 'prefix', /without lone surrogates/],
  ['a value over 64 KiB', { value: 'ä'.repeat(32_769) }, 'value', /^expected at most 65536 bytes of UTF-8/],
  ['a malformed value', { value: '\uD800' }, 'value', /without lone surrogates/],
  ['a value of a wrong type', { value: Buffer.from('x') }, 'value', /^expected a string/],
  ['auth without password', { auth: { username: 'u' } }, 'auth.password', /^expected a string$/],
  ['auth without a user name', { auth: { username: '', password: 'p' } }, 'auth.username', /empty string$/],
  ['auth with an unknown member', { auth: { username: 'u', password: 'p', token: 't' } }, 'auth.token', /^unknown option$/],
  ['a private key without its chain', { credentials: { rootCertificate: pem, privateKey } }, 'credentials.certChain', /together/],
  ['a chain without its private key', { credentials: { rootCertificate: pem, certChain } }, 'credentials.privateKey', /together/],
  ['a certificate as text', { credentials: { rootCertificate: 'PEM' } }, 'credentials.rootCertificate', /^expected a Buffer$/],
  [
    'a certificate file without a certificate',
    { credentials: { rootCertificate: privateKey } },
    'credentials.rootCertificate',
    /certificates in PEM format$/,
  ],
  [
    'a broken second certificate',
    { credentials: { rootCertificate: Buffer.concat([pem, Buffer.from(pem.toString().replace(/^MI/m, '!!'))]) } },
    'credentials.rootCertificate',
    /certificates in PEM format$/,
  ],
  [
    'a chain without a certificate',
    { credentials: { ...credentials, certChain: Buffer.from('x') } },
    'credentials.certChain',
    /in PEM format, the client certificate first$/,
  ],
  [
    'a key file without a key',
    { credentials: { ...credentials, privateKey: pem } },
    'credentials.privateKey',
    /private key in PEM format$/,
  ],
  [
    'an encrypted key without its passphrase',
    { credentials: { ...credentials, privateKey: Buffer.from(encrypted) } },
    'credentials.passphrase',
    /^expected the passphrase of the encrypted key in privateKey, got none$/,
  ],
  [
    'an encrypted key with another passphrase',
    { credentials: { ...credentials, privateKey: Buffer.from(encrypted), passphrase: 'hunter3' } },
    'credentials.passphrase',
    /^expected the passphrase of the encrypted key in privateKey, got another one/,
  ],
  ['a passphrase without a key', { credentials: { passphrase: 'hunter2' } }, 'credentials.passphrase', /^expected privateKey beside it/],
  [
    'a passphrase that is no text',
    { credentials: { ...credentials, passphrase: privateKey } },
    'credentials.passphrase',
    /^expected a string$/,
  ],
  ['an unknown certificate', { credentials: { ...credentials, ca: pem } }, 'credentials.ca', /^unknown option$/],
  [
    'credentials as text',
    { credentials: 'PEM' },
    'credentials',
    /^expected an object with rootCertificate, .* or a function that returns one$/,
  ],
  ['a function for hosts that are not secure', { hosts: 'http://a:1', credentials: () => credentials }, 'hosts', /https hosts/],
  ['store and a function for auth', { store, auth: () => ({ username: 'u', password: 'p' }) }, 'auth', /^expected either store or/],
  [
    'the key of another certificate',
    { credentials: { ...credentials, privateKey: other.privateKey } },
    'credentials.privateKey',
    /got another key$/,
  ],
  [
    'a logger without one of its methods',
    { logger: { warn: () => undefined } },
    'logger',
    /^expected an object with debug, info, warn and error/,
  ],
];

describe('createLocker()', () => {
  test.each(invalid)('createLocker() reports the option and the expected value when it is given %s', (_, options, path, expected) => {
    const issues = issuesOf(options);

    expect(issues.map((issue) => issue.path)).toEqual([path]);
    expect(issues[0]?.message).toMatch(expected);
  });

  test('createLocker() reports all wrong options in one message', () => {
    const issues = issuesOf({ ttlMs: 1, value: 2, hosts: [''], nope: 1 });

    expect(issues.map(({ path }) => path).sort()).toEqual(['hosts[0]', 'nope', 'ttlMs', 'value']);
    expect(() => createLocker({ ttlMs: 1, prefix: 'x'.repeat(2_000) })).toThrow(
      /^Cannot create locker: prefix: expected at most 1024 bytes.*; ttlMs: expected at least 2000 ms, got 1$|^Cannot create locker: ttlMs: .*; prefix: /,
    );
  });

  test.each([
    { auth: { username: 'root', password: 987654321 } },
    { auth: { username: '', password: 'hunter2' } },
    { auth: 'root:hunter2' },
    { hosts: 'http://root:hunter2@a:1' },
    { hosts: ['https://root:hunter2@a:1/x'] },
    { hosts: 'root:hunter2@a:1' },
    { hosts: `https://root:hunter2${'x'.repeat(80)}@a:1` },
    { hosts: 'https://root:hunter2/and@more@a:1' },
    { credentials: { rootCertificate: 'hunter2' } },
    { credentials: { ...credentials, privateKey: 'hunter2' } },
    { credentials: 'hunter2' },
    { credentials: { rootCertificate: Buffer.from('hunter2') } },
    { credentials: { ...credentials, privateKey: Buffer.from('hunter2'), certChain: Buffer.from('hunter2') } },
    { credentials: { ...credentials, privateKey: Buffer.from(encrypted), passphrase: 'hunter2-and-more' } },
    { credentials: { passphrase: 'hunter2' } },
    { hosts: 'https://a:1?token=hunter2' },
    { hosts: ['a:1#hunter2'] },
    { hosts: [['https://root:hunter2@a']] },
    { hosts: { 'https://root:hunter2@a': 1 } },
    { prefix: 1, value: 2, hosts: ['etcd://root:hunter2@a', 'root:hunter2@b:x'] },
  ])('createLocker() throws an error without a secret when it is given %j', (options) => {
    try {
      createLocker(options as unknown as LockerOptions);
      expect.unreachable('the options must be invalid');
    } catch (error) {
      expect(error).toBeInstanceOf(InvalidOptionsError);
      expect(`${String(error)} ${JSON.stringify(error)} ${String((error as Error).stack)}`).not.toMatch(/hunter2|987654321/);
    }
  });

  test.each([
    [undefined, ['http://127.0.0.1:2379']],
    [{}, ['http://127.0.0.1:2379']],
    [{ hosts: 'etcd.example' }, ['http://etcd.example:2379']],
    [{ hosts: '10.0.0.1:2380' }, ['http://10.0.0.1:2380']],
    [{ hosts: 'http://a:1/' }, ['http://a:1']],
    [{ hosts: ['https://a', 'https://b:1'] }, ['https://a:2379', 'https://b:1']],
    [{ hosts: '[::1]:1' }, ['http://[::1]:1']],
    [{ hosts: ['[fe80::1]', 'a', 'a:2379'] }, ['http://[fe80::1]:2379', 'http://a:2379']],
    [{ hosts: ['a', 'https://b'], credentials: { rootCertificate: pem } }, ['https://a:2379', 'https://b:2379']],
  ])('resolveLockerOptions(%j) returns the URLs %j', (options, hosts) => {
    expect(resolveLockerOptions(options).etcd.hosts).toEqual(hosts);
  });

  test('resolveLockerOptions() ignores later changes of credentials and auth, and keeps functions', () => {
    const auth = { username: 'u', password: 'p' };
    const own = { rootCertificate: pem };
    const { etcd } = resolveLockerOptions({ credentials: own, auth });

    Object.assign(auth, { password: 'q' });
    Object.assign(own, { rootCertificate: undefined });

    expect(etcd).toMatchObject({ auth: { username: 'u', password: 'p' }, credentials: { rootCertificate: pem } });
    const ask = (): typeof credentials => credentials;
    expect(resolveLockerOptions({ credentials: ask }).etcd.credentials).toBe(ask);
  });

  test('resolveLockerOptions() returns the defaults for missing and undefined options', () => {
    const {
      prefix,
      value,
      ttlSeconds,
      requestTimeoutMs,
      store: given,
      keepMs,
    } = resolveLockerOptions({ ttlMs: undefined, value: undefined });

    expect({ prefix, value, ttlSeconds, requestTimeoutMs, given, keepMs }).toEqual({
      prefix: 'locks/',
      value: `${hostname()}:${String(process.pid)}`,
      ttlSeconds: 15,
      requestTimeoutMs: 5_000,
      given: undefined,
      keepMs: 0,
    });
  });

  test.each([
    { ttlMs: 2_000, value: '', prefix: '', requestTimeoutMs: 50, keepMs: 0 },
    { value: 'x'.repeat(65_536), prefix: 'x'.repeat(1_024), ttlMs: 2_147_483_647 },
    { auth: { username: 'u', password: '' }, grpcOptions: { 'grpc.keepalive_time_ms': 1 } },
    { credentials, logger: console, keepMs: 2_147_483_647 },
    { credentials: {} },
    { credentials: { privateKey, certChain } },
    { credentials: { ...credentials, privateKey: Buffer.from(encrypted), passphrase: 'hunter2' } },
    { credentials: { ...credentials, passphrase: 'for a key that is not encrypted' } },
    { credentials: () => credentials, auth: () => Promise.resolve({ username: 'u', password: 'p' }) },
    // Bundles of certificates may contain comments.
    { credentials: { rootCertificate: Buffer.concat([Buffer.from('# the old one\r\n'), pem, Buffer.from('\n# the new one\n'), pem]) } },
    { store: memoryStore(), prefix: 'other/' },
  ])('createLocker() accepts values at their limits: %#', async (options) => {
    const locker = createLocker(options);

    await expect(locker.close()).resolves.toBeUndefined();
  });
});

describe('options of lock() and the other methods', () => {
  const invalidCalls: readonly (readonly [description: string, options: unknown, path: string])[] = [
    ['an unknown option', { timeout: 5 }, 'timeout'],
    ['an unknown mode', { mode: 'read' }, 'mode'],
    ['slots 0', { slots: 0 }, 'slots'],
    ['slots that are no whole number', { slots: 1.5 }, 'slots'],
    ['infinite slots', { slots: Infinity }, 'slots'],
    ['slots beside mode', { slots: 2, mode: 'exclusive' }, 'slots'],
    ['a renew that is no boolean', { renew: 1 }, 'renew'],
    ['maxHoldMs 0', { maxHoldMs: 0 }, 'maxHoldMs'],
    ['a maxHoldMs beyond timers', { maxHoldMs: 2 ** 31 }, 'maxHoldMs'],
    ['a negative minHoldMs', { minHoldMs: -1 }, 'minHoldMs'],
    ['an infinite minHoldMs', { minHoldMs: Infinity }, 'minHoldMs'],
    ['minHoldMs of a shared lock', { minHoldMs: 1, mode: 'shared' }, 'minHoldMs'],
    ['minHoldMs of a semaphore', { minHoldMs: 1, slots: 2 }, 'minHoldMs'],
    ['minHoldMs without renewal', { minHoldMs: 1, renew: false }, 'minHoldMs'],
    ['a negative keepMs', { keepMs: -1 }, 'keepMs'],
    ['an infinite keepMs', { keepMs: Infinity }, 'keepMs'],
    ['keepMs of a shared lock', { keepMs: 1, mode: 'shared' }, 'keepMs'],
    ['keepMs of a semaphore', { keepMs: 1, slots: 2 }, 'keepMs'],
    ['keepMs without renewal', { keepMs: 1, renew: false }, 'keepMs'],
    ['keepMs beside minHoldMs', { keepMs: 1, minHoldMs: 1 }, 'keepMs'],
    ['ttlMs 500', { ttlMs: 500 }, 'ttlMs'],
    ['a negative timeoutMs', { timeoutMs: -1 }, 'timeoutMs'],
    ['a timeoutMs beyond timers', { timeoutMs: 2 ** 31 }, 'timeoutMs'],
    ['an object that is no AbortSignal', { signal: { aborted: false } }, 'signal'],
    ['a value over 64 KiB', { value: 'x'.repeat(65_537) }, 'value'],
    ['null', null, ''],
    ['a string', 'x', ''],
  ];
  test.each(invalidCalls)(
    'lock(), tryLock(), withLock(), lockAll() and tryLockAll() reject, and send no request, when they are given %s',
    async (_, options, path) => {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker();
      const given = options as never;

      const errors = [
        await errorOf(locker.lock('a', given)),
        await errorOf(locker.tryLock('a', given)),
        await errorOf(locker.withLock('a', given, () => 1)),
        await errorOf(locker.lockAll(['a'], given)),
        await errorOf(locker.tryLockAll(['a'], given)),
      ];

      for (const error of errors) expect(error).toMatchObject({ code: 'INVALID_OPTIONS', issues: [{ path }] });
      expect(memory.store.calls).toEqual([]);
    },
  );

  test.each([
    [{ slots: Infinity }, "slots: expected a whole number, got Infinity; mode: 'shared' allows any number of holders"],
    [{ slots: NaN }, 'slots: expected a whole number, got NaN'],
    [{ timeoutMs: '5s' }, 'timeoutMs: expected a number of milliseconds, got "5s"'],
    [{ timeoutMs: NaN }, 'timeoutMs: expected a number of milliseconds, got NaN'],
    [{ timeoutMs: -Infinity }, 'timeoutMs: expected a number of milliseconds, got -Infinity'],
    [{ timeoutMs: -1 }, 'timeoutMs: expected at least 0 ms, got -1'],
    [{ maxHoldMs: 2 ** 31 }, 'maxHoldMs: expected at most 2147483647 ms, got 2147483648'],
    [{ minHoldMs: 5, mode: 'shared' }, "minHoldMs: expected either minHoldMs or mode: 'shared', got both"],
    [{ minHoldMs: 5, slots: 1 }, 'minHoldMs: expected either minHoldMs or slots, got both'],
    [{ minHoldMs: 5, renew: false }, 'minHoldMs: expected either minHoldMs or renew: false, got both'],
    [{ keepMs: 5, mode: 'shared' }, "keepMs: expected either keepMs or mode: 'shared', got both"],
    [{ keepMs: 5, slots: 1 }, 'keepMs: expected either keepMs or slots, got both'],
    [{ keepMs: 5, renew: false }, 'keepMs: expected either keepMs or renew: false, got both'],
    [{ keepMs: 5, minHoldMs: 5 }, 'keepMs: expected either keepMs or minHoldMs, got both'],
  ])('lock() rejects %j and says what it expects', async (options, message) => {
    await using memory = await openFaultyMemory();

    expect(await errorOf(memory.createLocker().lock('a', options as never))).toMatchObject({ message: `Cannot lock: ${message}` });
  });

  test.each(['lock', 'tryLock', 'lockAll', 'tryLockAll'] as const)('%s() waits for ever with timeoutMs: Infinity', async (method) => {
    await using memory = await openFaultyMemory();
    const [holder, locker] = [memory.createLocker(), memory.createLocker()];
    const held = await holder.lock('a');
    const names = method.endsWith('All') ? ['a'] : 'a';
    const call = locker[method] as (names: string | string[], options: LockOptions) => Promise<{ readonly held: boolean } | null>;
    const waiting = follow(call(names, { timeoutMs: Infinity, maxHoldMs: Infinity }));

    await memory.clock.advance(30_000);
    expect(waiting.isSettled).toBe(false);
    await held.release();
    await memory.clock.settle();

    expect(waiting.value?.held).toBe(true);
  });

  test.each([undefined, null, 42, '', '\uDFFF', 'x'.repeat(1_025), {}])(
    'all methods reject an invalid name, and send no request: %#',
    async (name) => {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker();
      const given = name as string;

      const errors = [
        await errorOf(locker.lock(given)),
        await errorOf(locker.tryLock(given)),
        await errorOf(locker.withLock(given, () => 1)),
        await errorOf(locker.inspect(given)),
      ];

      for (const error of errors) expect(error).toMatchObject({ code: 'INVALID_OPTIONS', issues: [{ path: 'name' }] });
      expect(() => locker.watch(given, {})).toThrow(InvalidOptionsError);
      expect(memory.store.calls).toEqual([]);
      expect(memory.etcd.watchCount).toBe(0);
    },
  );

  test.each([{ signal: 1 }, { timeoutMs: 1 }, { failFast: 1 }, { startsWith: 1 }, null])(
    'watch() throws, and creates no watch in etcd, when it is given %j',
    async (options) => {
      await using memory = await openFaultyMemory();
      const locker = memory.createLocker();

      expect(() => locker.watch('a', options as never)).toThrow(InvalidOptionsError);
      expect(() => locker.watch(options as never)).toThrow(InvalidOptionsError);
      expect(memory.etcd.watchCount).toBe(0);
    },
  );

  test.each([42, undefined, '\uD800', 'ä'.repeat(32_769)])('setValue() rejects an invalid value, and writes nothing: %#', async (value) => {
    await using memory = await openFaultyMemory();
    const lock = await memory.createLocker().lock('a', { value: 'old' });
    const before = memory.store.calls.length;

    expect(await errorOf(lock.setValue(value as string))).toMatchObject({ code: 'INVALID_OPTIONS', issues: [{ path: 'value' }] });

    expect(memory.store.calls.length).toBe(before);
    expect(lock).toMatchObject({ held: true, value: 'old' });
  });

  test('createLocker() sends no request before the first use', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();

    await memory.clock.advance(10_000);
    await locker.close();

    expect(memory.store.calls).toEqual([]);
  });
});
