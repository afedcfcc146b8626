import { type WebLockManager, webLocks } from 'etcd-locker/web-locks';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Held, hold, kindOf } from '../../support/fixtures/web-locks.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

/** Texts with a meaning in keys, encodings or entries, and surrogates. */
const tricks = [
  ...['/', '//', '.', '..', '-', '0', '%', '%2F', '%2f', '%25', '%u', '%uD800', 'D800', 'd800', 'a', 'A', 'a/b', ' '],
  ...['@', '@empty', '@sessions', '%40empty', 'locks', 'ff-1', '-shared', '-of-3', '*', '\u00e9', 'e\u0301', '\ufeff', '\ufffd'],
  ...['\0', '\n', '\x1f', '\x7f', '\x80', '\u2028', '\ud800', '\udbff', '\udc00', '\udfff', '\ud83d\ude00', '\ude00\ud83d'],
];

const domStrings = fc.oneof(
  { weight: 3, arbitrary: fc.array(fc.constantFrom(...tricks), { maxLength: 4 }).map((parts) => parts.join('')) },
  { weight: 1, arbitrary: fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 8 }).map((units) => String.fromCharCode(...units)) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 8 }) },
);

/** A name, and another one that differs as little as possible. */
const neighbours = fc
  .tuple(domStrings, fc.constantFrom('/', '\0', ' ', '0', '%', '\ud800', '\udc00', 'a'))
  .chain(([name, more]) => fc.constantFrom([name, name + more], [name, more + name], [name, encodeURIComponent(name.toWellFormed())]));

// The specification reserves a hyphen at the beginning.
const isAllowed = (name: string): boolean => !name.startsWith('-');

const names = fc
  .tuple(fc.uniqueArray(domStrings, { maxLength: 4 }), neighbours)
  .map(([some, near]) => [...new Set([...some, ...near])].filter(isAllowed))
  .filter((all) => all.length > 1);

/** @param runs the number of sets of names */
export function webLocksNames(open: OpenFixture, runs: number): void {
  describe('§2.2 Resource names', () => {
    test('any DOMString is a name of its own: it is held while other names are free, and query() reports it', async () => {
      await using fixture = await open();
      const [one, other] = [webLocks(fixture.createLocker()), webLocks(fixture.createLocker())];
      const tryOn = (locks: WebLockManager, name: string): Promise<string | undefined> =>
        locks.request(name, { ifAvailable: true }, (lock) => lock?.name);

      await fc.assert(
        fc.asyncProperty(names, fc.nat(), async (all, index) => {
          const free = all[index % all.length] ?? '';
          const taken = all.filter((name) => name !== free);
          const held: Held[] = await Promise.all(taken.map((name) => hold(one, name)));
          try {
            expect(held.map(({ lock }) => lock?.name)).toEqual(taken);
            expect(await Promise.all(taken.map((name) => tryOn(other, name)))).toEqual(taken.map(() => undefined));
            expect(await tryOn(other, free)).toBe(free);
            const state = await other.query();
            expect(state.held.map(({ name }) => name).sort()).toEqual([...taken].sort());
            expect(state.pending).toEqual([]);
          } finally {
            for (const { release } of held) release();
            await Promise.all(held.map(({ request }) => request));
          }
        }),
        { numRuns: runs, examples: [[['', '\ud800', '@empty', '%uD800'], 0]] },
      );
    });

    test('every name that begins with a hyphen is reserved', async () => {
      await using fixture = await open();
      const locks = webLocks(fixture.createLocker());

      await fc.assert(
        fc.asyncProperty(domStrings, async (rest) => {
          expect(await kindOf(locks.request(`-${rest}`, () => undefined))).toBe('DOMException NotSupportedError');
        }),
        { numRuns: 50 },
      );
    });
  });
}
