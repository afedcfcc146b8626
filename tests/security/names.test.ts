/** Tests hostile names, values and keys: they stay distinct, come back unchanged, and break nothing. */
import { Etcd3 } from 'etcd3';
import { createLocker, type Locker, type LockState } from 'etcd-locker';
import { webLocks } from 'etcd-locker/web-locks';
import fc from 'fast-check';
import { describe, expect, inject, test } from 'vitest';
import { deferred } from '../../src/deferred.ts';
import { entryKey, namesRange, queueRange } from '../../src/keys.ts';
import { errorOf, expectFree, follow } from '../support/fixtures/holding.ts';
import { type LockerFixture, openEtcd, openMemory } from '../support/fixtures/lockers.ts';
import { listener } from '../support/fixtures/security-stage.ts';

const tricks = [
  '/',
  '..',
  '.',
  '\0',
  '%',
  '%2F',
  '%u',
  'D800',
  '@empty',
  '@sessions',
  '-shared',
  '-of-3',
  'ff-1',
  'locks',
  '0',
  'a',
  '\n',
  '\x7f',
];
const wellFormed = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }),
  fc
    .array(fc.constantFrom(...tricks, 'ä', '😀', '\u202e', '\u2028', '\uFFFD'), { minLength: 1, maxLength: 5 })
    .map((parts) => parts.join('')),
);
/** Also strings with lone surrogates, and the empty string. */
const domStrings = fc.oneof(
  wellFormed,
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 10 }).map((units) => String.fromCharCode(...units)),
  fc.array(fc.constantFrom(...tricks, '\ud800', '\udc00', '\udfff'), { maxLength: 5 }).map((parts) => parts.join('')),
);
const prefixes = fc.constantFrom('', 'locks/', 'locks', '@', '%', 'ä/', '\0', 'a/b/');

async function listed(locker: Locker, startsWith = ''): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of locker.list({ startsWith })) names.push(name);
  return names.sort();
}

/** Sorts names in the order in which lockAll() locks them. */
const byKey = (a: string, b: string): number => (encodeURIComponent(a) < encodeURIComponent(b) ? -1 : 1);

const isWithin = (key: string, { key: from, rangeEnd }: { key: string; rangeEnd: string }): boolean =>
  Buffer.from(key).compare(Buffer.from(from)) >= 0 && Buffer.from(key).compare(Buffer.from(rangeEnd)) < 0;

/** Names that share a beginning, or that look like a key, a gate, or the encoding of another name. */
const lookalikes = [
  ...[
    'a',
    'a/',
    'a//',
    'a\0',
    'a\0b',
    'a\n',
    'a\x7f',
    'a0',
    'a%',
    'a%00',
    'a%2F',
    'a%252F',
    'a/b',
    'a\u0301',
    'á',
    '\0',
    '\n',
    '\x1b[2J',
    '\x7f',
  ],
  ...['a/ff-1', 'a/ff-1-shared', 'a/ff-1-of-3', '-shared', '-of-3', 'ff-1', '/', '//', '.', '..', '../a', '0', '%', '%25', '%u', '%uD800'],
  ...[
    '@',
    '@sessions',
    '@sessions/',
    '@sessions/ff',
    '@sessions0',
    '%40sessions/ff',
    '@empty',
    'locks/',
    'locks/a',
    '\uFFFD',
    '\u{10ffff}',
  ],
];

const memoryAndEtcd = [
  ['memory', openMemory],
  ['etcd', () => openEtcd(inject('etcdEndpoints'))],
] as const;

describe('names', () => {
  test('have disjoint key ranges, also disjoint from the range of the gates', () => {
    fc.assert(
      fc.property(prefixes, domStrings, domStrings, fc.constantFrom(1, 3, Infinity), (prefix, one, other, slots) => {
        fc.pre(one !== other);
        const [range, another] = [queueRange(prefix, one), queueRange(prefix, other)];
        const gates = { key: `${prefix}@sessions/`, rangeEnd: `${prefix}@sessions0` };
        for (const [a, b] of [
          [range, another],
          [another, range],
          [range, gates],
          [gates, range],
        ] as const) {
          expect(isWithin(a.key, b)).toBe(false);
          expect(isWithin(`${a.key}\x7f\u{10ffff}`, b)).toBe(false);
        }
        expect(isWithin(entryKey(range, '255', 1, slots), another)).toBe(false);
        expect(isWithin(entryKey(range, '255', 1, slots), namesRange(prefix, ''))).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  const expectIndependent = async (fixture: LockerFixture, numRuns: number): Promise<void> => {
    const [holder, other] = [fixture.createLocker(), fixture.createLocker()];
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(wellFormed, { minLength: 2, maxLength: 4 }), async (names) => {
        const [first = '', ...rest] = names;
        await using one = await holder.lock(first, { value: first });
        for (const name of rest) expect((await other.inspect(name)).held).toBe(false);
        await using locks = await other.tryLockAll(rest);

        expect(locks?.held).toBe(true);
        expect(await listed(other)).toEqual([...names].sort());
        for (const name of names) expect(await holder.inspect(name)).toMatchObject({ name, held: true, waiting: 0, holders: [{}] });
        expect((await other.inspect(first)).holders[0]?.value).toBe(one.value);
        expect(await other.tryLock(first)).toBeNull();
      }),
      { numRuns },
    );
  };

  test('are locked independently in memory, and list() and inspect() return them unchanged', async () => {
    await using fixture = await openMemory();
    await expectIndependent(fixture, 200);
  });

  test('are locked independently in etcd, and list() and inspect() return them unchanged', async () => {
    await using fixture = await openEtcd(inject('etcdEndpoints'));
    await expectIndependent(fixture, 8);
  });

  test.each(memoryAndEtcd)(
    'that look like each other, like keys or like gates are locked, refused and listed independently in %s',
    async (_, open) => {
      await using fixture = await open();
      const [holder, other] = [fixture.createLocker({ value: 'me' }), fixture.createLocker()];
      const own = await holder.lock('a');
      const gates = (await fixture.gates()).map(({ key }) => key);
      await own.release();
      const names = [...lookalikes, own.key, own.key.slice(fixture.prefix.length), ...gates, `${fixture.prefix}@sessions`];

      await using locks = await holder.lockAll(names);

      expect(locks.locks.map(({ name }) => name)).toEqual(names);
      expect(new Set(locks.locks.map(({ key }) => key)).size).toBe(names.length);
      expect(await listed(other)).toEqual([...names].sort());
      for (const { name, key } of locks.locks) {
        const alike = await listed(other, name);
        expect(alike, name).toEqual(names.filter((one) => one.startsWith(name)).sort());
        expect(await other.inspect(name), name).toMatchObject({ name, waiting: 0, holders: [{ key, value: 'me', foreign: false }] });
        expect(await other.tryLockAll([name, 'free']), name).toBeNull();
      }
      await expectFree(other, 'free');
      const waiting = follow(other.lockAll([...names].reverse()));
      await fixture.until(async () => {
        expect((await holder.inspect([...names].sort(byKey)[0] ?? '')).waiting).toBe(1);
      });
      await locks.release();
      await (await waiting.promise).release();
      expect(await listed(other)).toEqual([]);
    },
  );

  test.each([
    ['memory', openMemory, 100],
    ['etcd', () => openEtcd(inject('etcdEndpoints')), 5],
  ] as const)('of Web Locks, with lone surrogates, come back unchanged from list() and query() in %s', async (_, open, numRuns) => {
    await using fixture = await open();
    const [holder, other] = [fixture.createLocker(), fixture.createLocker()];
    const hold = async (name: string, until: Promise<void>): Promise<Promise<unknown>[]> => {
      const granted = deferred<undefined>();
      const request = webLocks(holder).request(name, () => {
        granted.resolve(undefined);
        return until;
      });
      await Promise.race([granted.promise, request]);
      return [request];
    };
    // The standard reserves names that begin with a hyphen.
    const names = domStrings.filter((name) => !name.startsWith('-'));
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(names, { minLength: 2, maxLength: 3 }), async (all) => {
        const end = deferred<undefined>();
        const requests = await Promise.all(all.map((name) => hold(name, end.promise)));
        try {
          expect(await listed(other)).toEqual([...all].sort());
          const { held } = await webLocks(other).query();
          expect(held.map(({ name }) => name).sort()).toEqual([...all].sort());
        } finally {
          end.resolve(undefined);
          await Promise.all(requests.flat());
        }
      }),
      { numRuns },
    );
  });
});

describe('a value', () => {
  test.each(memoryAndEtcd)('of 1 MiB is refused by each call, with an error that names the limit, in %s', async (_, open) => {
    await using fixture = await open();
    const locker = fixture.createLocker();
    const value = 'x'.repeat(2 ** 20);
    const lock = await locker.lock('x');

    const errors = [
      await errorOf(Promise.resolve().then(() => createLocker({ value }))),
      await errorOf(locker.lock('y', { value })),
      await errorOf(locker.tryLock('y', { value })),
      await errorOf(locker.lockAll(['y', 'z'], { value })),
      await errorOf(locker.tryLockAll(['y', 'z'], { value })),
      await errorOf(lock.setValue(value)),
    ];

    for (const error of errors) {
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS', issues: [{ path: 'value' }] });
      expect((error as Error).message).toContain('at most 65536 bytes of UTF-8');
      expect((error as Error).message.length).toBeLessThan(300);
    }
    expect([lock.held, lock.value]).toEqual([true, (await locker.inspect('x')).holders[0]?.value]);
    await expectFree(locker, 'y');
  });

  const values = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.array(fc.constantFrom(...tricks, 'ä', '😀', '\u202e', '\u2028', '\uFFFD'), { maxLength: 20 }).map((parts) => parts.join('')),
  );

  test.each([
    ['the memory store', openMemory, 100],
    ['etcd', () => openEtcd(inject('etcdEndpoints')), 20],
  ] as const)('comes back unchanged from %s, in inspect() and in watch()', async (_, open, numRuns) => {
    await using fixture = await open();
    const [writer, reader] = [fixture.createLocker(), fixture.createLocker()];

    await fc.assert(
      fc.asyncProperty(values, values, async (first, second) => {
        await using lock = await writer.lock('x', { value: first });
        const states = reader.watch('x');
        const nextValues = async (): Promise<unknown> => {
          const { value: state } = (await states.next()) as IteratorYieldResult<LockState>;
          return state.holders.map((one) => one.value);
        };
        expect(await nextValues()).toEqual([first]);

        await lock.setValue(second);

        expect((await reader.inspect('x')).holders.map((one) => one.value)).toEqual([second]);
        if (second !== first) expect(await nextValues()).toEqual([second]);
        await states.return();
      }),
      { numRuns },
    );
  });

  test('comes back unchanged with control characters, and at the size limit', async () => {
    await using fixture = await openEtcd(inject('etcdEndpoints'));
    const locker = fixture.createLocker();
    await using lock = await locker.lock('x');

    for (const value of ['', '\0', '\n\x1b[2J', '\uFFFD\u202e😀', '"\\', 'ä'.repeat(32 * 1024)]) {
      await lock.setValue(value);
      expect((await locker.inspect('x')).holders.map((one) => one.value)).toEqual([value]);
    }
  });
});

describe('foreign keys below the prefix', () => {
  interface Foreign {
    put(key: string | Buffer, value?: Buffer): Promise<void>;
    delete(key: string | Buffer): Promise<void>;
  }

  async function withForeign(use: (fixture: LockerFixture, foreign: Foreign) => Promise<void>): Promise<void> {
    const endpoints = inject('etcdEndpoints');
    await using fixture = await openEtcd(endpoints);
    const client = new Etcd3({ hosts: [...endpoints] });
    const whole = (key: string | Buffer): Buffer => Buffer.concat([Buffer.from(fixture.prefix), Buffer.from(key)]);
    try {
      await use(fixture, {
        put: async (key, value = Buffer.from('foreign')) => {
          await client.kv.put({ key: whole(key), value });
        },
        delete: async (key) => {
          await client.kv.deleteRange({ key: whole(key) });
        },
      });
    } finally {
      await client.delete().prefix(fixture.prefix);
      client.close();
    }
  }

  const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
  const outsideQueues = [
    '',
    '/',
    '//',
    'x',
    'x0',
    '%',
    '%/1',
    '%zz/1',
    '%e4/1',
    '%2f/1',
    '@sessions/zz',
    '@sessions/',
    '@other/1',
    '@empty',
    'a b/1',
    '\0/1',
  ]
    .map((key): string | Buffer => key)
    .concat([bytes('\xff/1'), bytes('x\xff'), bytes('x\xc3/1'), bytes('%u/1'), bytes('%uD83D%uDE00/1'), bytes('@sessions/\xff')]);

  test('outside of queues change nothing', () =>
    withForeign(async (fixture, foreign) => {
      for (const key of outsideQueues) await foreign.put(key, bytes('\xff\xfe\0'));
      const [locker, other] = [fixture.createLocker({ value: 'me' }), fixture.createLocker()];
      const states = other.watch('x');
      expect((await states.next()).value).toMatchObject({ held: false, waiting: 0 });

      const lock = await locker.lock('x');

      expect((await states.next()).value).toMatchObject({ holders: [{ value: 'me' }] });
      expect(await other.tryLock('x')).toBeNull();
      expect(await other.inspect('x')).toMatchObject({ holders: [{ value: 'me', foreign: false }], waiting: 0 });
      expect(await listed(other)).toEqual(['x']);
      const waiting = follow(other.lock('x'));
      await lock.release();
      await (await waiting.promise).release();
      expect(await listed(other)).toEqual([]);
      await states.return();
    }));

  test('in a queue hold the name until they are deleted', () =>
    withForeign(async (fixture, foreign) => {
      const locker = fixture.createLocker();
      for (const key of ['x/', 'x/-1', 'x/ff-1-of-0', 'x/ff-1-shared/', 'x/\n', bytes('x/\xff\xfe'), 'x/'.padEnd(2_000, 'y')]) {
        await foreign.put(key, bytes('\xff\0\x1b'));
        const { holders } = await locker.inspect('x');
        expect(holders).toMatchObject([{ foreign: true, mode: 'exclusive', leaseId: '0' }]);
        expect(await listed(locker)).toEqual(['x']);
        expect(await locker.tryLock('x')).toBeNull();
        const error = await errorOf(locker.lock('x', { timeoutMs: 50 }));
        expect(error).toMatchObject({ code: 'LOCK_TIMEOUT', holder: holders[0]?.value });
        expect((error as Error).message).not.toMatch(/\p{Cc}/u);
        const waiting = follow(locker.lock('x'));
        await fixture.until(async () => {
          expect(await locker.inspect('x')).toMatchObject({ waiting: 1 });
        });

        await foreign.delete(key);

        await (await waiting.promise).release();
      }
    }));

  test('that are not UTF-8 and decode to the same text are distinct in watch()', () =>
    withForeign(async (fixture, foreign) => {
      const states = fixture.createLocker().watch('x');
      await foreign.put(bytes('x/\xfe'), bytes('one'));
      await foreign.put(bytes('x/\xff'), bytes('other'));
      expect((await states.next()).value).toMatchObject({ holders: [{ value: 'one' }], waiting: 1 });

      await foreign.delete(bytes('x/\xfe'));
      expect((await states.next()).value).toMatchObject({ holders: [{ value: 'other' }], waiting: 0 });
      await foreign.delete(bytes('x/\xff'));
      expect((await states.next()).value).toMatchObject({ held: false });
      await states.return();
    }));

  test('that are not UTF-8 and fill a page do not keep list() from completing', () =>
    withForeign(async (fixture, foreign) => {
      const locker = fixture.createLocker();
      await using locks = await locker.lockAll(['a', 'a\x7f', 'b']);
      await Promise.all(Array.from({ length: 210 }, (_, i) => foreign.put(bytes(`a\xff${String(i)}`))));

      expect(await listed(locker)).toEqual(['a', 'a\x7f', 'b']);
      expect(locks.held).toBe(true);
    }));
});

describe('every message is one line', () => {
  const hostile = 'a\n\r\0\x1b[2J\x7f\x85\u2028\u202eb';
  const harmful = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u;

  test('with hostile characters in name, value, prefix, options and keys', async () => {
    await using fixture = await openMemory();
    const { lines, logger } = listener();
    const [locker, other] = [fixture.createLocker({ value: hostile, logger }), fixture.createLocker()];
    const lock = await locker.lock(hostile);
    const timeout = follow(other.lock(hostile, { timeoutMs: 100 }));
    await fixture.until(() => {
      expect(timeout.isSettled).toBe(true);
    });
    await fixture.deleteKey(lock.key);
    const again = await other.lock(hostile);
    await again.release();
    await fixture.until(() => {
      expect(lock.held).toBe(false);
    });
    const attempt = (call: () => unknown): Promise<unknown> => errorOf(Promise.resolve().then(call));

    const errors = [
      timeout.error,
      lock.signal.reason,
      await errorOf(lock.setValue('x')),
      await errorOf(again.setValue('x')),
      await attempt(() => locker.lock(`${hostile}\ud800`)),
      await attempt(() => locker.lock('x', { mode: hostile as 'shared' })),
      await attempt(() => locker.lock('x', { [hostile]: 1 } as object)),
      await attempt(() => createLocker({ hosts: hostile })),
      await attempt(() => createLocker({ hosts: [`http://${hostile}/x`] })),
      await attempt(() => createLocker({ prefix: `${hostile}\ud800` })),
      await attempt(() => webLocks(locker).request('x', { mode: hostile as 'shared' }, () => undefined)),
      await attempt(() => createLocker({ hosts: '\x1b\u202e:1', requestTimeoutMs: 50 }).inspect('x')),
    ];

    for (const error of errors) {
      expect(error).toBeInstanceOf(Error);
      expect((error as Error).message).not.toMatch(harmful);
    }
    for (const line of lines) expect(line.split('\n')[0]).not.toMatch(harmful);
  });
});
