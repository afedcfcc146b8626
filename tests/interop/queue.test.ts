/**
 * Tests that the locker, Go's clientv3/concurrency in two versions and `etcdctl lock` share one queue: order, exclusion, dead holders,
 * canceled waiters and expired sessions.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Locker } from 'etcd-locker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Prng } from '../simulation/prng.ts';
import { findEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { eventually, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { follow } from '../support/fixtures/holding.ts';
import { startWorker } from '../support/run/processes.ts';
import { buildGoPeers, type Caller, drain, GoPeer, type GoPrograms, goVersions, startEtcdctl, startLocking } from './peers.ts';

const source = await findEtcd();
const etcdctl = source.kind === 'binary' ? source.etcdctl : null;
const built = await buildGoPeers();
if ('reason' in built) {
  // CI has Go, so a skipped test would hide a failure there.
  if (process.env['CI'] !== undefined) throw new Error(`Cannot build the Go peers: ${built.reason}`);
  console.warn(`Skipped: the tests with Go peers. ${built.reason}`);
}
const programs = 'programs' in built ? built.programs : ({} as GoPrograms);
const ttlMs = 2_000;

describe.skipIf('reason' in built)('one queue with Go peers', { timeout: 40_000 }, () => {
  let stage: Stage<EtcdServer>;
  let one: Locker;
  let other: Locker;
  let go36: GoPeer;
  let go37: GoPeer;
  const startPeer = (version: (typeof goVersions)[number] = '3.7.3'): GoPeer =>
    new GoPeer(programs, version, { hosts: stage.server.endpoints, ttlMs });
  beforeAll(async () => {
    stage = await openStage();
    [one, other] = [stage.createLocker({ ttlMs }), stage.createLocker({ ttlMs })];
    [go36, go37] = [startPeer('3.6.16'), startPeer('3.7.3')];
  });
  afterAll(async () => {
    await Promise.all([go36, go37].map((peer) => peer[Symbol.asyncDispose]()));
    await stage[Symbol.asyncDispose]();
  });

  const pathOf = (name: string): string => `${stage.prefix}${encodeURIComponent(name)}`;
  const starters = (name: string): readonly (() => Caller)[] => [
    () => go36.lock(pathOf(name)),
    () => go36.lock(pathOf(name), 'election', 'x'),
    () => go37.lock(pathOf(name)),
    () => go37.lock(pathOf(name), 'election', 'y'),
    // Each with a locker of its own: callers of one locker share an entry.
    () => startLocking(stage.createLocker({ ttlMs }), name),
    () => startLocking(stage.createLocker({ ttlMs }), name),
    () => startLocking(stage.createLocker({ ttlMs }), name, { value: 'z' }),
    ...(etcdctl === null ? [] : [() => startEtcdctl(etcdctl, stage.server.endpoint, pathOf(name))]),
  ];

  /** Starts the callers one after another, each behind the entry of the one before. */
  async function enqueue(name: string, start: readonly (() => Caller)[]): Promise<Caller[]> {
    const callers: Caller[] = [];
    const before = (await stage.etcd.entries(name)).length;
    for (const [index, starter] of start.entries()) {
      callers.push(starter());
      await stage.queued(name, before + index + 1);
    }
    return callers;
  }

  test.each([1, 2, 3, 4, 5, 6, 7, 8])('all hold in the order of their entries, and one leaves while it waits: order %d', async (seed) => {
    const name = `order ${String(seed)}`;
    const random = new Prng(seed);
    const shuffled = starters(name)
      .map((start) => ({ start, at: random.next() }))
      .sort((a, b) => a.at - b.at)
      .map(({ start }) => start);
    const callers = await enqueue(name, shuffled);
    const [leaving] = callers.splice(random.integer(1, callers.length - 1), 1);

    await leaving?.cancel();
    await stage.queued(name, callers.length);

    expect(await drain(callers), `without ${leaving?.title ?? ''}`).toEqual(callers.map(({ title }) => title));
    expect(await stage.etcd.entries(name)).toEqual([]);
  });

  test('no two hold at one time: each raises a number in a file, with Lock(), TryLock(), Campaign() and lock()', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'interop-'));
    const file = join(folder, 'number');
    writeFileSync(file, '0');
    const times = 20;
    const orders = [go36, go37].flatMap((peer) => (['mutex', 'try', 'election'] as const).map((how) => ({ peer, how })));
    for (const { peer, how } of orders)
      peer.order({ do: 'count', caller: `count ${how}`, path: pathOf('count'), how, value: how, file, times });
    const count = async (locker: Locker, acquire: 'lock' | 'tryLock'): Promise<void> => {
      for (let done = 0; done < times;) {
        const lock = await locker[acquire]('count');
        if (lock === null) {
          await sleep(2);
          continue;
        }
        const number = Number(readFileSync(file, 'utf8'));
        await sleep(1);
        writeFileSync(file, String(number + 1));
        done++;
        await lock.release();
      }
    };

    await Promise.all([count(one, 'lock'), count(one, 'lock'), count(other, 'lock'), count(other, 'tryLock')]);
    for (const { peer, how } of orders) await peer.process.reached(`counted count ${how}`);

    expect(Number(readFileSync(file, 'utf8'))).toBe((orders.length + 4) * times);
    rmSync(folder, { recursive: true });
  });

  test.each(goVersions)('TryLock() and tryLock() fail at once while another kind of peer holds: Go %s', async (version) => {
    const peer = version === '3.6.16' ? go36 : go37;
    const name = `try ${version}`;

    const lock = await one.lock(name);
    expect(await peer.tryLock(pathOf(name))).toBeNull();
    expect(await stage.etcd.entries(name)).toHaveLength(1);
    await lock.release();
    const holder = await peer.tryLock(pathOf(name));

    expect(holder?.isHolding).toBe(true);
    expect(await one.tryLock(name)).toBeNull();
    await holder?.release();
    await using last = await one.tryLock(name);
    expect(last?.held).toBe(true);
  });

  test.each(goVersions)(
    'a leader of an Election and a holder exclude each other, and see the value of each other: Go %s',
    async (version) => {
      const peer = version === '3.6.16' ? go36 : go37;
      const name = `leader ${version}`;
      const leader = peer.lock(pathOf(name), 'election', `leader of ${version}`);
      await leader.held();
      const waiting = startLocking(one, name, { value: 'the locker' });
      await stage.queued(name, 2);

      expect(await other.inspect(name)).toMatchObject({
        holders: [{ foreign: true, value: `leader of ${version}`, mode: 'exclusive' }],
        waiters: [{ foreign: false, value: 'the locker' }],
      });
      const next = peer.lock(pathOf(name), 'election', 'next');
      await stage.queued(name, 3);
      await leader.release();
      await waiting.held();
      peer.order({ do: 'leader', path: pathOf(name) });
      await peer.process.reached('leader the locker');
      expect(next.isHolding).toBe(false);
      await waiting.release();

      await next.held();
      expect((await other.inspect(name)).holders).toMatchObject([{ foreign: true, value: 'next' }]);
      await next.release();
    },
  );

  test.each(goVersions)(
    'the lock of a killed process goes to the next after the TTL, in the order of the queue: Go %s',
    async (version) => {
      const name = `killed ${version}`;
      const dying = startPeer(version);
      const [holder, dead] = await enqueue(name, [() => dying.lock(pathOf(name)), () => dying.lock(pathOf(name), 'election', 'dead')]);
      await holder?.held();
      const callers = await enqueue(name, starters(name).slice(0, 6).reverse());

      dying.process.signal('SIGKILL');
      const killedAt = performance.now();
      await callers[0]?.held();

      // etcd looks for expired leases every 500 ms, and a busy machine takes its time.
      expect(performance.now() - killedAt).toBeLessThan(ttlMs + 5_000);
      expect(await drain(callers)).toEqual(callers.map(({ title }) => title));
      expect(dead?.isHolding).toBe(false);
      await dying.process.ended;
    },
  );

  test('every peer that queues up behind a holder makes its lock wanted', async () => {
    for (let index = 0; index < starters('').length; index += 1) {
      const name = `wanted ${String(index)}`;
      const lock = await one.lock(name);
      const { wanted } = lock;
      const [waiting] = await enqueue(name, starters(name).slice(index, index + 1));

      await eventually(() => {
        expect(wanted.aborted, waiting?.title).toBe(true);
      });

      await lock.release();
      await waiting?.held();
      await waiting?.release();
    }
  });

  test.each(goVersions)('breakLock() removes a holder of Go, and the next in the queue gets the lock: Go %s', async (version) => {
    const name = `broken ${version}`;
    const [holder, ...callers] = await enqueue(name, [
      () => (version === '3.6.16' ? go36 : go37).lock(pathOf(name)),
      () => startLocking(one, name),
      () => go36.lock(pathOf(name), 'election', 'x'),
    ]);
    await holder?.held();

    expect(await other.breakLock(name)).toMatchObject([{ foreign: true }]);

    expect(await drain(callers)).toEqual(callers.map(({ title }) => title));
    await holder?.release();
  });

  test('the lock of a killed process of the locker goes to the Go peer behind it', async () => {
    await using holder = startWorker('hold.ts', {
      ...{ hosts: stage.server.endpoint, prefix: stage.prefix, name: 'killed', ttlMs, scenario: 'wait' },
    });
    await holder.reached('held');
    const callers = await enqueue('killed', [
      () => go37.lock(pathOf('killed')),
      () => startLocking(one, 'killed'),
      () => go36.lock(pathOf('killed')),
    ]);

    holder.signal('SIGKILL');

    expect(await drain(callers)).toEqual(callers.map(({ title }) => title));
    await stage.etcd.delete('guarded');
  });

  test.each(goVersions)('an expired session gives its place to the one behind it, holding or waiting: Go %s', async (version) => {
    const peer = version === '3.6.16' ? go36 : go37;
    const name = `expired ${version}`;
    const holder = peer.lock(pathOf(name));
    await holder.held();
    const first = startLocking(stage.createLocker({ ttlMs }), name);
    await stage.queued(name, 2);
    const expired = peer.lock(pathOf(name));
    await stage.queued(name, 3);
    const last = startLocking(one, name);
    await stage.queued(name, 4);

    peer.order({ do: 'revoke', caller: expired.id });
    await stage.queued(name, 3);
    peer.order({ do: 'revoke', caller: holder.id });
    const lock = await first.lock;
    const next = peer.lock(pathOf(name));
    await stage.queued(name, 3);

    expect([expired.isHolding, last.isHolding, next.isHolding]).toEqual([false, false, false]);
    await stage.etcd.revoke(lock.leaseId);
    await eventually(() => {
      expect(lock.held).toBe(false);
    });
    expect(await drain([last, next])).toEqual([last.title, next.title]);
    await peer.process.reached(new RegExp(`^failed ${expired.id}: .*session is expired`));
  });

  test.each(goVersions)('nested names: lock(a/b) is apart from Go’s a, and Go’s a/b stands in the queue of a: Go %s', async (version) => {
    const peer = version === '3.6.16' ? go36 : go37;
    const [outer, inner] = [`a ${version}`, `a ${version}/b`];

    // The locker encodes the slash, so its two names exclude nobody but their equals.
    const parent = peer.lock(pathOf(outer));
    await parent.held();
    await using child = await one.lock(inner);
    expect(await peer.tryLock(pathOf(inner))).toBeNull();
    expect(await one.tryLock(outer)).toBeNull();
    await parent.release();

    // Go does not: its keys of a/b lie below those of a, for Go and for the locker.
    const nested = peer.lock(`${pathOf(outer)}/b`);
    await nested.held();
    expect(await peer.tryLock(pathOf(outer))).toBeNull();
    const waiting = startLocking(one, outer);
    await sleep(200);
    expect([waiting.isHolding, child.held]).toEqual([false, true]);
    await nested.release();
    await waiting.held();
    await waiting.release();
  });

  test('shared locks and semaphores of the locker exclude Go peers, which are exclusive', async () => {
    for (const [name, options] of [
      ['shared', { mode: 'shared' }],
      ['slots', { slots: 2 }],
    ] as const) {
      const [first, second] = [await one.lock(name, options), await other.lock(name, options)];
      expect(await go36.tryLock(pathOf(name))).toBeNull();
      const peer = go37.lock(pathOf(name));
      await stage.queued(name, 3);
      const behind = [follow(one.lock(name, options)), follow(other.lock(name, options))];
      await stage.queued(name, 5);

      await first.release();
      expect(peer.isHolding).toBe(false);
      await second.release();
      await peer.held();
      expect(behind.map(({ isSettled }) => isSettled)).toEqual([false, false]);
      const last = go36.lock(pathOf(name));
      await stage.queued(name, 4);
      await peer.release();
      const locks = await Promise.all(behind.map(({ promise }) => promise));

      expect(last.isHolding).toBe(false);
      await Promise.all(locks.map((lock) => lock.release()));
      await last.held();
      await last.release();
    }
  });
});
