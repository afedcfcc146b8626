import type { LockManager } from 'etcd-locker/web-locks';
import { describe, expect, test } from 'vitest';
import { kindOf, type OpenLocks } from '../../support/fixtures/web-locks.ts';

const callback = (): string => 'called';
const signal = new AbortController().signal;

/** Calls `request` with any arguments. */
const request = (locks: LockManager, ...given: unknown[]): Promise<unknown> =>
  (Reflect.get(locks, 'request') as (...args: unknown[]) => Promise<unknown>).apply(locks, given);

/** Options that record which of their members are read, and in which order. */
function recording(members: Readonly<Record<string, unknown>> = {}): { readonly options: object; readonly reads: string[] } {
  const reads: string[] = [];
  const options = new Proxy(members, {
    get(target, member) {
      reads.push(String(member));
      return target[String(member)];
    },
  });
  return { options, reads };
}

const wrong: readonly (readonly [why: string, ...given: unknown[]])[] = [
  ['no argument'],
  ['a name alone', 'a'],
  ['a string as the callback', 'a', 'b'],
  ['options without a callback', 'a', {}],
  ['undefined for the callback', 'a', undefined],
  ['null for the callback', 'a', null],
  ['undefined for the callback, beside options', 'a', {}, undefined],
  ['an object for the callback', 'a', {}, {}],
  ['a symbol for the name', Symbol('a'), callback],
  ['a name that does not convert to a primitive', { toString: () => ({}), valueOf: () => ({}) }, callback],
  ['a string for the options', 'a', 'exclusive', callback],
  ['a number for the options', 'a', 1, callback],
  ['a symbol for the options', 'a', Symbol('a'), callback],
  ['an unknown mode', 'a', { mode: 'foo' }, callback],
  ['a mode in capitals', 'a', { mode: 'Shared' }, callback],
  ['null for the mode', 'a', { mode: null }, callback],
  ['a symbol for the mode', 'a', { mode: Symbol('shared') }, callback],
  ['null for the signal', 'a', { signal: null }, callback],
  ['a string for the signal', 'a', { signal: 'string' }, callback],
  ['an object for the signal', 'a', { signal: { aborted: false } }, callback],
  ['a controller for the signal', 'a', { signal: new AbortController() }, callback],
  ['an object that only has the prototype of a signal', 'a', { signal: Object.create(AbortSignal.prototype) as unknown }, callback],
];

const refused: readonly (readonly [why: string, name: string, options: object])[] = [
  ["a name that begins with '-'", '-', {}],
  ["a longer name that begins with '-'", '-foo', {}],
  ['steal beside ifAvailable', 'a', { steal: true, ifAvailable: true }],
  ['steal of a shared lock', 'a', { steal: true, mode: 'shared' }],
  ['a signal beside steal', 'a', { signal, steal: true }],
  ['a signal beside ifAvailable', 'a', { signal, ifAvailable: true }],
];

// Node's own implementation checks the signal first.
const refusedThoughAborted: typeof refused = [
  ["a name that begins with '-'", '-', { signal: AbortSignal.abort('before') }],
  ['a signal beside steal', 'a', { signal: AbortSignal.abort('before'), steal: true }],
  ['a signal beside ifAvailable', 'a', { signal: AbortSignal.abort('before'), ifAvailable: true }],
];

/** @param isReference true for Node's own implementation, which differs from the specification in a few cases */
export function webLocksArguments(open: OpenLocks, isReference = false): void {
  describe('§4.2 IDL: request(name, callback), request(name, options, callback)', () => {
    test.each(wrong)('%s rejects with a TypeError', async (_, ...given) => {
      await using fixture = await open();

      expect(await kindOf(request(fixture.locks, ...given))).toBe('TypeError');
    });

    test.each([
      ['an own getter', { get mode() { throw new RangeError('mine'); } }], // prettier-ignore
      ['the conversion of a mode', { mode: { toString() { throw new RangeError('mine'); } } }], // prettier-ignore
    ])('it rejects with the error of %s', async (_, options) => {
      await using fixture = await open();

      expect(await kindOf(request(fixture.locks, 'a', options, callback))).toEqual(new RangeError('mine'));
    });

    test('it rejects instead of throwing at the call', async () => {
      await using fixture = await open();

      const promises = wrong.map(([, ...given]) => request(fixture.locks, ...given));

      for (const promise of promises) {
        expect(promise).toBeInstanceOf(Promise);
        expect(await kindOf(promise)).toBe('TypeError');
      }
    });

    test.each([
      ['a number', 42, '42'],
      ['null', null, 'null'],
      ['undefined', undefined, 'undefined'],
      ['an object', { toString: () => 'text' }, 'text'],
      ['a list', ['a', 'b'], 'a,b'],
    ])('the name is converted to a DOMString: %s', async (_, given, name) => {
      await using fixture = await open();

      expect(await request(fixture.locks, given, (lock: { name: string }) => lock.name)).toBe(name);
    });

    test.each([
      ['undefined', undefined],
      ['null', null],
      ['an empty object', {}],
      ['an object with undefined for every member', { mode: undefined, ifAvailable: undefined, steal: undefined, signal: undefined }],
      ['a function', () => undefined],
      ['unknown members', { timeout: 1 }],
    ])('the options have their defaults if they are %s', async (_, options) => {
      await using fixture = await open();

      expect(await request(fixture.locks, 'a', options, (lock: { mode: string }) => lock.mode)).toBe('exclusive');
    });

    test('a boolean member may be any truthy or falsy value', async () => {
      await using fixture = await open();

      expect(await kindOf(request(fixture.locks, 'a', { steal: 1, ifAvailable: 'no' }, callback))).toBe('DOMException NotSupportedError');
      expect(await request(fixture.locks, 'a', { steal: 0, ifAvailable: '' }, callback)).toBe('called');
    });

    test('the mode is converted to a DOMString', async () => {
      await using fixture = await open();

      const mode = await request(fixture.locks, 'a', { mode: { toString: () => 'shared' } }, (lock: { mode: string }) => lock.mode);

      expect(mode).toBe('shared');
    });

    test('arguments after the third are ignored', async () => {
      await using fixture = await open();

      expect(await request(fixture.locks, 'a', {}, callback, 'more')).toBe('called');
    });

    test('inherited members count', async () => {
      await using fixture = await open();

      const options: unknown = Object.create({ mode: 'shared' });

      expect(await request(fixture.locks, 'a', options, (lock: { mode: string }) => lock.mode)).toBe('shared');
    });

    test.skipIf(isReference)('each member is read once, in the order of their names, before the callback is checked', async () => {
      await using fixture = await open();
      const { options, reads } = recording({ mode: 'shared' });

      expect(await kindOf(request(fixture.locks, 'a', options, 'no function'))).toBe('TypeError');

      expect(reads).toEqual(['ifAvailable', 'mode', 'signal', 'steal']);
    });

    test.skipIf(isReference)('the name is converted before the options, and the options before the callback', async () => {
      await using fixture = await open();
      const { options, reads } = recording();
      const name = {
        toString: () => {
          reads.push('name');
          return 'a';
        },
      };

      expect(await request(fixture.locks, name, options, callback)).toBe('called');
      expect(await kindOf(request(fixture.locks, Symbol('a'), options, callback))).toBe('TypeError');

      expect(reads).toEqual(['name', 'ifAvailable', 'mode', 'signal', 'steal']);
    });

    test('with two arguments the second is the callback, even if that function has members with the names of options', async () => {
      await using fixture = await open();

      expect(
        await request(
          fixture.locks,
          'a',
          Object.assign(() => 'called', { mode: 'foo' }),
        ),
      ).toBe('called');
    });

    test.skipIf(isReference)('both methods reject with a TypeError if `this` is no LockManager', async () => {
      await using fixture = await open();
      const detached = (name: string): ((...given: unknown[]) => Promise<unknown>) =>
        Reflect.get(fixture.locks, name) as (...given: unknown[]) => Promise<unknown>;

      expect(await kindOf(detached('request').call(undefined, 'a', callback))).toBe('TypeError');
      expect(await kindOf(detached('query').call({}))).toBe('TypeError');
    });

    test.skipIf(isReference)('the object has the form of a Web IDL interface', async () => {
      await using fixture = await open();
      const { locks } = fixture;

      expect(Object.prototype.toString.call(locks)).toBe('[object LockManager]');
      expect(Object.keys(Object.getPrototypeOf(locks) as object).sort()).toEqual(['query', 'request']);
      expect([locks.request.length, locks.query.length]).toEqual([2, 0]);
    });

    test('the constructors of LockManager and Lock throw', async () => {
      await using fixture = await open();
      const { locks } = fixture;
      const lock = await locks.request('a', (held) => held);

      for (const [one, name] of [
        [locks, 'LockManager'],
        [lock, 'Lock'],
      ] as const) {
        // prettier-ignore
        const constructor = Reflect.get(one as object, 'constructor') as new () => unknown;
        expect(constructor.name).toBe(name);
        expect(one).toBeInstanceOf(constructor);
        expect(() => new constructor()).toThrow(TypeError);
      }
    });
  });

  describe('§4.2.1 request(): arguments that it refuses', () => {
    test.each(refused)('%s rejects with NotSupportedError', async (_, name, options) => {
      await using fixture = await open();
      let calls = 0;

      expect(await kindOf(request(fixture.locks, name, options, () => (calls += 1)))).toBe('DOMException NotSupportedError');
      expect(calls).toBe(0);
    });

    test.skipIf(isReference).each(refusedThoughAborted)('%s is refused before the aborted signal counts', async (_, name, options) => {
      await using fixture = await open();

      expect(await kindOf(request(fixture.locks, name, options, callback))).toBe('DOMException NotSupportedError');
    });

    test('an undefined signal is allowed beside steal and ifAvailable', async () => {
      await using fixture = await open();

      expect(await request(fixture.locks, 'a', { signal: undefined, steal: true }, callback)).toBe('called');
      expect(await request(fixture.locks, 'a', { signal: undefined, ifAvailable: true }, callback)).toBe('called');
    });

    test('a TypeError comes before a NotSupportedError', async () => {
      await using fixture = await open();

      expect(await kindOf(request(fixture.locks, '-', { mode: 'foo' }, callback))).toBe('TypeError');
      expect(await kindOf(request(fixture.locks, '-', {}))).toBe('TypeError');
    });

    test.each(['a-', ' -', '\u2212', '–'])("a name that does not begin with '-' is allowed: %j", async (name) => {
      await using fixture = await open();

      expect(await request(fixture.locks, name, callback)).toBe('called');
    });

    test('an aborted signal rejects with its reason, and the callback is not called', async () => {
      await using fixture = await open();
      const reason = { mine: true };
      let calls = 0;

      const rejected = fixture.locks.request('a', { signal: AbortSignal.abort(reason) }, () => (calls += 1));

      await expect(rejected).rejects.toBe(reason);
      expect(await kindOf(fixture.locks.request('a', { signal: AbortSignal.abort() }, callback))).toBe('DOMException AbortError');
      expect(calls).toBe(0);
    });
  });
}
