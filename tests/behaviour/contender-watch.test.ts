/** Tests of the watch that notices entries behind a held one. `wanted` and kept locks build on it. */
import { describe, expect, test } from 'vitest';
import type { Context } from '../../src/context.ts';
import { silentLogger } from '../../src/context.ts';
import { type ContendedEntry, ContenderWatch } from '../../src/entry/contender-watch.ts';
import { entryKey, queueRange } from '../../src/keys.ts';
import type { Operation, Transaction, WatchListener } from '../../src/store/store.ts';
import { after, type Call, calls, type FaultyMemory, lostRequest, openFaultyMemory } from '../support/fixtures/faults.ts';

const queue = queueRange('locks/', 'a');

/** A held entry with a watch on what is behind it. */
class Stage {
  readonly memory: FaultyMemory;
  readonly losses: string[] = [];
  readonly key: string;
  readonly entry: ContendedEntry;
  readonly watch: ContenderWatch;
  changes = 0;
  listener: WatchListener | undefined;
  isOpen = true;

  constructor(memory: FaultyMemory, slots = 1) {
    this.memory = memory;
    memory.etcd.grant('1', 60);
    memory.etcd.grant('2', 60);
    this.key = entryKey(queue, '1', 0, slots);
    const { revision } = this.put(this.key);
    const session = {
      checkOpen: () => this.isOpen,
      pause: (ms: number) => new Promise<void>((resolve) => memory.clock.setTimer(ms, resolve)),
    };
    const lose = (reason: string): void => void this.losses.push(reason);
    this.entry = { key: this.key, queue, slots, token: revision, session, lose };
    const { store, clock } = memory;
    const watch = store.watch.bind(store);
    store.watch = (request, listener) => {
      this.listener = listener;
      return watch(request, listener);
    };
    this.watch = new ContenderWatch({ store, clock, logger: silentLogger } as unknown as Context, this.entry, {
      onChange: () => (this.changes += 1),
    });
  }

  commit(...then: Transaction['then']) {
    return this.memory.etcd.commit({ compare: [], then, otherwise: [] });
  }

  put(key: string, value = '') {
    return this.commit({ put: { key, value, leaseId: '1' } });
  }

  /** The entry number `n` of another process. */
  other(n = 0, slots = 1): string {
    return entryKey(queue, '2', n, slots);
  }

  async start(): Promise<this> {
    this.watch.start();
    await this.memory.clock.settle();
    return this;
  }

  get looks(): number {
    return this.memory.store.count(calls.read);
  }

  get facts() {
    const { isWanted, isConfirmed } = this.watch;
    return { isWanted, isConfirmed, looks: this.looks, losses: this.losses };
  }

  [Symbol.dispose](): void {
    this.watch.stop();
    this.memory.etcd.revoke('1');
    this.memory.etcd.revoke('2');
  }
}

const remove = (key: string): Operation => ({ delete: { key } });
const isRead = (call: Call): boolean => calls.read(call);

describe('the watch for contenders', () => {
  test('is confirmed without a look if nothing has happened since the entry was created', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    expect(stage.facts).toEqual({ isWanted: false, isConfirmed: false, looks: 0, losses: [] });

    await stage.start();

    expect(stage.facts).toEqual({ isWanted: false, isConfirmed: true, looks: 0, losses: [] });
    expect(stage.watch.unconfirmedSince).toBeUndefined();
    stage.put(stage.other());
    await memory.clock.settle();
    expect(stage.facts).toEqual({ isWanted: true, isConfirmed: true, looks: 0, losses: [] });
  });

  test('finds an entry that came before it by one look, and confirms an empty queue by one look', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    stage.put(stage.other());
    await stage.start();
    expect(stage.facts).toEqual({ isWanted: true, isConfirmed: true, looks: 1, losses: [] });

    await using elsewhere = await openFaultyMemory();
    using free = new Stage(elsewhere);
    free.put('locks/b/1-0');
    await free.start();
    expect(free.facts).toEqual({ isWanted: false, isConfirmed: true, looks: 1, losses: [] });
  });

  test('finds an entry that came between the look and its event, or before the look and its confirmation', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    stage.put('locks/b/1-0');
    memory.store.next(isRead, after(memory.clock, 100));
    await stage.start();
    expect(stage.watch.isConfirmed).toBe(false);

    stage.put(stage.other());
    await memory.clock.settle();
    expect(stage.facts).toMatchObject({ isWanted: true, isConfirmed: false });
    await memory.clock.advance(100);
    expect(stage.facts).toMatchObject({ isWanted: true, isConfirmed: true, looks: 1 });
  });

  test('ignores new values: that of the entry itself, and that of an entry before it', async () => {
    await using memory = await openFaultyMemory();
    memory.etcd.grant('3', 60);
    const before = entryKey(queue, '3', 0, 1);
    memory.etcd.commit({ compare: [], then: [{ put: { key: before, value: '', leaseId: '3' } }], otherwise: [] });
    using stage = new Stage(memory);
    await stage.start();

    stage.put(stage.key, 'new');
    stage.put(before, 'new');
    await memory.clock.settle();

    expect(stage.facts).toEqual({ isWanted: false, isConfirmed: true, looks: 0, losses: [] });
    memory.etcd.revoke('3');
  });

  test('stays wanted when the contender leaves', async () => {
    await using memory = await openFaultyMemory();
    using stage = await new Stage(memory).start();

    stage.put(stage.other());
    stage.commit(remove(stage.other()));
    await memory.clock.settle();

    expect(stage.watch.isWanted).toBe(true);
  });

  test('loses the entry at its deletion, and counts no thief of the same revision', async () => {
    await using memory = await openFaultyMemory();
    using stage = await new Stage(memory).start();

    stage.commit({ put: { key: stage.other(), value: '', leaseId: '2' } }, remove(stage.key));
    await memory.clock.settle();

    expect(stage.facts).toMatchObject({ isWanted: false, losses: ['deleted'] });
    expect(memory.etcd.watchCount).toBe(0);
  });

  test('loses the entry if a look does not find it with its revision', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    stage.commit(remove(stage.key));
    stage.put(stage.key);
    await stage.start();

    expect(stage.facts).toMatchObject({ isWanted: false, isConfirmed: false, losses: ['deleted'] });
  });

  test('ignores a deletion from before the entry was created: keys are used again', async () => {
    await using memory = await openFaultyMemory();
    using stage = await new Stage(memory).start();
    const kv = { key: stage.key, value: '', createRevision: 0n, modRevision: stage.entry.token - 1n, leaseId: '0' };

    stage.listener?.events([{ type: 'delete', kv }]);

    expect(stage.losses).toEqual([]);
  });

  test('is not confirmed from a break to the answered look after it', async () => {
    await using memory = await openFaultyMemory();
    using stage = await new Stage(memory).start();
    await memory.clock.advance(1_000);
    const { monotonicMs } = memory.clock.now();

    memory.store.breakWatches();
    expect(stage.watch.isConfirmed).toBe(false);
    await memory.clock.advance(500);
    stage.put(stage.other());
    await memory.clock.settle();
    expect(stage.facts).toMatchObject({ isWanted: false, isConfirmed: false, looks: 0 });
    expect(stage.watch.unconfirmedSince?.monotonicMs).toBe(monotonicMs);
    memory.store.restoreWatches();
    await memory.clock.settle();

    expect(stage.facts).toMatchObject({ isWanted: true, isConfirmed: true, looks: 1 });
  });

  test('is not confirmed by a look that is answered during a break', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    stage.put('locks/b/1-0');
    memory.store.next(isRead, after(memory.clock, 100));
    await stage.start();

    memory.store.breakWatches();
    await memory.clock.advance(100);
    expect(stage.facts).toMatchObject({ isConfirmed: false, looks: 1 });
    memory.store.restoreWatches();
    await memory.clock.settle();

    expect(stage.facts).toMatchObject({ isConfirmed: true, looks: 2 });
  });

  test('looks again after a break during a look', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    stage.put('locks/b/1-0');
    memory.store.next(isRead, async (send) => {
      const response = await send();
      await new Promise<void>((resolve) => memory.clock.setTimer(100, resolve));
      return response;
    });
    await stage.start();
    memory.store.breakWatches();
    stage.put(stage.other());
    memory.store.restoreWatches();
    await memory.clock.settle();
    expect(stage.watch.isWanted).toBe(false);

    await memory.clock.advance(100);

    expect(stage.facts).toMatchObject({ isWanted: true, isConfirmed: true, looks: 2 });
  });

  test.each([0n, 1n])('looks if it is confirmed at revision %i, which proves nothing', async (revision) => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    memory.store.breakWatches();
    await stage.start();
    stage.put(stage.other());

    stage.listener?.created(revision);
    await memory.clock.settle();

    expect(stage.facts).toMatchObject({ isWanted: true, isConfirmed: true, looks: 1 });
  });

  test('ignores events that its last look has seen', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    const { revision } = stage.put(stage.other());
    stage.commit(remove(stage.other()));
    await stage.start();
    const kv = { key: stage.other(), value: '', createRevision: revision, modRevision: revision, leaseId: '2' };

    stage.listener?.events([{ type: 'put', kv }]);

    expect(stage.facts).toMatchObject({ isWanted: false, isConfirmed: true, looks: 1 });
  });

  test('retries a look with pauses, and stays unconfirmed meanwhile', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    stage.put(stage.other());
    const restore = memory.store.every(isRead, lostRequest);
    await stage.start();
    await memory.clock.advance(10_000);
    const { looks } = stage;
    expect(looks).toBeGreaterThan(5);
    expect(looks).toBeLessThan(25);
    expect(stage.watch.isConfirmed).toBe(false);

    restore();
    await memory.clock.advance(1_000);

    expect(stage.facts).toMatchObject({ isWanted: true, isConfirmed: true, looks: looks + 1 });
  });

  test.each(['stopped', 'its session has ended'])('looks no more once it is %s', async (end) => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    stage.put(stage.other());
    memory.store.every(isRead, lostRequest);
    await stage.start();
    const { looks, changes } = stage;
    if (end === 'stopped') stage.watch.stop();
    else stage.isOpen = false;

    await memory.clock.advance(10_000);

    expect(stage.looks).toBe(looks);
    expect(stage.changes).toBe(changes);
  });

  test('ignores a look that is answered after it was stopped: the entry may be released by then', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    stage.put('locks/b/1-0');
    memory.store.next(isRead, after(memory.clock, 100));
    await stage.start();

    stage.watch.stop();
    stage.commit(remove(stage.key));
    await memory.clock.advance(200);

    expect(stage.facts).toMatchObject({ losses: [], isConfirmed: false });
  });

  test('goes on after etcd was restored from a snapshot, whose revisions come again', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    const snapshot = memory.etcd.snapshot();
    for (let count = 0; count < 5; count += 1) stage.put('locks/b/1-0');
    await stage.start();

    memory.etcd.restore(snapshot);
    memory.store.next(isRead, async (send) => {
      const response = await send();
      stage.put(stage.other());
      await new Promise<void>((resolve) => memory.clock.setTimer(100, resolve));
      return response;
    });
    await memory.clock.settle();
    await memory.clock.advance(100);

    expect(stage.facts).toMatchObject({ isWanted: true, isConfirmed: true, looks: 2, losses: [] });
  });

  test('starts once, and does not start again after its end', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory);
    stage.watch.start();
    stage.watch.start();
    expect(memory.etcd.watchCount).toBe(1);

    stage.watch.stop();
    stage.watch.start();

    expect(memory.etcd.watchCount).toBe(0);
  });
});

describe('contenders of several holders', () => {
  test('another reader is none of a reader, an entry of another kind is', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory, Infinity);
    stage.put(stage.other(0, Infinity));
    await stage.start();
    stage.put(stage.other(1, Infinity));
    await memory.clock.settle();
    expect(stage.facts).toEqual({ isWanted: false, isConfirmed: true, looks: 1, losses: [] });

    stage.put(stage.other(2));
    await memory.clock.settle();

    expect(stage.facts).toMatchObject({ isWanted: true, looks: 1 });
  });

  test('a semaphore has some once its slots are taken', async () => {
    await using memory = await openFaultyMemory();
    using stage = await new Stage(memory, 2).start();
    expect(stage.facts).toEqual({ isWanted: false, isConfirmed: true, looks: 1, losses: [] });

    stage.put(stage.other(0, 2));
    stage.commit(remove(stage.other(0, 2)), { put: { key: stage.other(1, 2), value: '', leaseId: '2' } });
    await memory.clock.settle();
    expect(stage.watch.isWanted).toBe(false);
    stage.put(stage.other(2, 2));
    await memory.clock.settle();

    expect(stage.facts).toMatchObject({ isWanted: true, looks: 1 });
  });

  test.each([
    ['an entry beyond the slots', 2],
    ['an entry of another kind', 3],
  ])('the look of a semaphore finds %s', async (_, slots) => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory, 2);
    for (const n of [0, 1]) stage.put(stage.other(n, slots));

    await stage.start();

    expect(stage.facts).toMatchObject({ isWanted: true, looks: 1 });
  });

  test('a semaphore counts the entries that come during its look', async () => {
    await using memory = await openFaultyMemory();
    using stage = new Stage(memory, 2);
    memory.store.next(isRead, async (send) => {
      const response = await send();
      stage.put(stage.other(0, 2));
      stage.put(stage.other(1, 2));
      await new Promise<void>((resolve) => memory.clock.setTimer(100, resolve));
      return response;
    });
    await stage.start();

    await memory.clock.advance(100);

    expect(stage.facts).toMatchObject({ isWanted: true, isConfirmed: true, looks: 1 });
  });
});
