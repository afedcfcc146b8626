import type { LockState } from 'etcd-locker';
import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { errorOf, follow } from '../../support/fixtures/holding.ts';
import type { OpenFixture } from '../../support/fixtures/lockers.ts';

async function nextState(states: AsyncIterator<LockState>): Promise<LockState> {
  const next = await states.next();
  if (next.done === true) return expect.unreachable('the watch goes on');
  return next.value;
}

export function watchContract(open: OpenFixture): void {
  describe('watch()', () => {
    test('watch() reports the current state first, then each change of holder and value', async () => {
      await using fixture = await open();
      const [locker, observer] = [fixture.createLocker(), fixture.createLocker()];
      const states = observer.watch('a');

      const seen = [await nextState(states)];
      const lock = await locker.lock('a', { value: 'v1' });
      seen.push(await nextState(states));
      await lock.setValue('v2');
      seen.push(await nextState(states));
      await lock.release();
      seen.push(await nextState(states));

      const { key, leaseId, fencingToken } = lock;
      const holder = { key, leaseId, fencingToken, mode: 'exclusive', slots: 1, foreign: false };
      expect(seen).toMatchObject([
        { name: 'a', held: false, holders: [], waiting: 0 },
        { held: true, holders: [{ ...holder, value: 'v1' }] },
        { held: true, holders: [{ ...holder, value: 'v2' }] },
        { held: false, holders: [] },
      ]);
      const revisions = seen.map(({ revision }) => revision);
      expect(revisions).toEqual([...new Set(revisions)].sort((a, b) => Number(a - b)));
    });

    test('watch() reports the holder at once if the lock is held already', async () => {
      await using fixture = await open();
      const lock = await fixture.createLocker().lock('a', { value: 'there before' });

      const state = await nextState(fixture.createLocker().watch('a'));

      expect(state).toMatchObject({ held: true, holders: [{ key: lock.key, value: 'there before', fencingToken: lock.fencingToken }] });
    });

    test('watch() reports a hand-over as one change, and no new waiters', async () => {
      await using fixture = await open();
      const [locker, observer] = [fixture.createLocker(), fixture.createLocker()];
      const first = await locker.lock('a', { value: 'first' });
      const states = observer.watch('a');
      await nextState(states);
      const foreign = follow(fixture.createLocker().lock('a', { value: 'third' }));
      await fixture.until(async () => {
        expect((await observer.inspect('a')).waiting).toBe(1);
      });

      const changed = follow(states.next());
      await fixture.pass(50);
      expect(changed.isSettled).toBe(false);
      await first.release();
      const third = await foreign.promise;
      expect(await changed.promise).toMatchObject({
        value: { holders: [{ value: 'third', fencingToken: third.fencingToken }], waiting: 0 },
      });

      const fourth = locker.lock('a', { value: 'fourth' });
      await fixture.until(async () => {
        expect((await observer.inspect('a')).waiting).toBe(1);
      });
      await third.release();
      expect(await nextState(states)).toMatchObject({ holders: [{ value: 'fourth', fencingToken: (await fourth).fencingToken }] });
    });

    test('watch() never reports a free lock during hand-overs within one locker', async () => {
      await using fixture = await open();
      const [locker, observer] = [fixture.createLocker(), fixture.createLocker()];
      const states = observer.watch('a');
      await nextState(states);
      const calls = Array.from({ length: 20 }, () => locker.lock('a'));

      const seen: LockState[] = [];
      const all = (async () => {
        for (let state = await nextState(states); state.held; state = await nextState(states)) seen.push(state);
      })();
      const tokens: bigint[] = [];
      for (const call of calls) {
        await using lock = await call;
        tokens.push(lock.fencingToken);
      }
      await all;

      expect(tokens.at(-1)).toBe(seen.at(-1)?.holders[0]?.fencingToken);
      for (const { holders } of seen) expect(tokens).toContain(holders[0]?.fencingToken);
    });

    test('watch() reports the newest state to a slow reader', async () => {
      await using fixture = await open();
      const [locker, observer] = [fixture.createLocker(), fixture.createLocker()];
      const [slow, quick] = [observer.watch('a'), observer.watch('a')];
      await Promise.all([nextState(slow), nextState(quick)]);
      const lock = await locker.lock('a', { value: '0' });
      for (let count = 1; count <= 50; count += 1) await lock.setValue(String(count));
      for (let value = ''; value !== '50';) value = (await nextState(quick)).holders[0]?.value ?? '';
      await fixture.pass(20);

      const state = await nextState(slow);

      expect(state.holders).toMatchObject([{ value: '50', fencingToken: lock.fencingToken }]);
      const next = follow(slow.next());
      await fixture.pass(20);
      expect(next.isSettled).toBe(false);
      await slow.return();
      expect(await next.promise).toMatchObject({ done: true });
    });

    test('watch() ends at a break of its loop', async () => {
      await using fixture = await open();
      const states = fixture.createLocker().watch('a');

      for await (const state of states) {
        expect(state.held).toBe(false);
        break;
      }

      expect(await states.next()).toMatchObject({ done: true });
    });

    test('watch() ends without an error, and leaves no listener, when its signal aborts', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const controller = new AbortController();
      const seen: LockState[] = [];

      for await (const state of locker.watch('a', { signal: controller.signal })) {
        seen.push(state);
        setImmediate(() => {
          controller.abort(new Error('enough'));
        });
      }

      expect(seen).toHaveLength(1);
      expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
      expect(await locker.watch('a', { signal: controller.signal }).next()).toMatchObject({ done: true });
    });

    test('watch() ends without an error when its locker closes', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const states = locker.watch('a');
      await nextState(states);
      const next = states.next();

      await locker.close();

      expect(await next).toMatchObject({ done: true });
      expect(await states.next()).toMatchObject({ done: true });
    });

    test('watch() and list() end at the end of an `await using` block, and at throw()', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      await locker.lock('a');
      for (const create of [() => locker.watch('a'), () => locker.list()]) {
        const left = create();
        {
          await using states = left;
          expect((await nextState(states)).held).toBe(true);
        }
        expect(await left.next()).toMatchObject({ done: true });

        const thrown = create();
        await nextState(thrown);
        const error = new Error('mine');
        expect(await errorOf(thrown.throw(error))).toBe(error);
        expect(await thrown.next()).toMatchObject({ done: true });

        const unused = create();
        await unused[Symbol.asyncDispose]();
        expect(await unused.next()).toMatchObject({ done: true });
      }
    });

    test('watch() that begins after the close of its locker ends at once', async () => {
      await using fixture = await open();
      const locker = fixture.createLocker();
      const states = locker.watch('a');

      await locker.close();

      expect(await states.next()).toMatchObject({ done: true });
    });

    test('two watches report the same states, and one of them ends alone', async () => {
      await using fixture = await open();
      const [locker, observer] = [fixture.createLocker(), fixture.createLocker()];
      const [one, other] = [observer.watch('a'), observer.watch('a')];
      expect((await Promise.all([nextState(one), nextState(other)])).map(({ held }) => held)).toEqual([false, false]);

      const lock = await locker.lock('a');
      const both = await Promise.all([nextState(one), nextState(other)]);
      await one.return();
      await lock.release();

      expect(both.map(({ holders }) => holders[0]?.fencingToken)).toEqual([lock.fencingToken, lock.fencingToken]);
      expect(await nextState(other)).toMatchObject({ held: false });
      expect(await one.next()).toMatchObject({ done: true });
    });

    test('watch() without a name reports the held names first, then each change of any name', async () => {
      await using fixture = await open();
      const [locker, observer] = [fixture.createLocker(), fixture.createLocker()];
      const [a] = [await locker.lock('jobs/a', { value: 'a' }), await locker.lock('other')];
      const states = observer.watch({ startsWith: 'jobs/' });
      const seen = [await nextState(states)];

      const b = await locker.lock('jobs/b', { value: 'b' });
      seen.push(await nextState(states));
      await b.setValue('new');
      seen.push(await nextState(states));
      await a.release();
      seen.push(await nextState(states));
      await b.release();
      seen.push(await nextState(states));

      expect(seen).toMatchObject([
        { name: 'jobs/a', held: true, holders: [{ value: 'a', fencingToken: a.fencingToken }], current: true },
        { name: 'jobs/b', held: true, holders: [{ value: 'b', fencingToken: b.fencingToken }] },
        { name: 'jobs/b', held: true, holders: [{ value: 'new' }] },
        { name: 'jobs/a', held: false, holders: [] },
        { name: 'jobs/b', held: false, holders: [] },
      ]);
      const revisions = seen.map(({ revision }) => revision);
      expect(revisions).toEqual([...new Set(revisions)].sort((one, other) => Number(one - other)));
      await states.return();
    });

    test("watch() of 'a' reports nothing about 'a/b'", async () => {
      await using fixture = await open();
      const [locker, observer] = [fixture.createLocker(), fixture.createLocker()];
      const states = observer.watch('a');
      await nextState(states);
      const next = follow(states.next());

      await locker.lock('a/b');
      await fixture.pass(50);

      expect(next.isSettled).toBe(false);
      await states.return();
    });
  });
}
