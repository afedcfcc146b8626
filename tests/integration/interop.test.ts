/** Tests that locks and `etcdctl lock` share one queue, and that other clients can use the guard of a lock. */
import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { TestProcess } from '../support/run/processes.ts';

const source = await findEtcd();
const etcdctl = source.kind === 'binary' ? source.etcdctl : null;
if (etcdctl === null) console.warn('Skipped: the tests with `etcdctl lock`, because this etcd has no etcdctl.');

let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

/** Starts `etcdctl lock`: it prints its key when it holds the lock, and releases the lock on SIGINT. */
const startEtcdctl = (name: string): TestProcess =>
  new TestProcess(etcdctl ?? 'etcdctl', ['--endpoints', stage.server.endpoint, 'lock', `locks/${name}`, '--ttl', '2'], {
    PATH: process.env['PATH'],
    ETCDCTL_API: '3',
  });
const holding = /^locks\/.+\/[0-9a-f]+$/;

describe.skipIf(etcdctl === null)('lock() and `etcdctl lock`', () => {
  test('exclude each other when the locker holds first', async () => {
    const lock = await stage.createLocker().lock('first');
    await using other = startEtcdctl('first');
    await stage.queued('first', 2);

    expect(other.steps).toEqual([]);
    await lock.release();

    await other.reached(holding);
    other.signal('SIGINT');
    await other.ended;
    expect(await stage.etcd.entries('first')).toEqual([]);
  });

  test('exclude each other when etcdctl holds first', async () => {
    await using other = startEtcdctl('second');
    const { step: key } = await other.reached(holding);
    const locker = stage.createLocker();
    expect(await locker.tryLock('second')).toBeNull();
    const waiting = follow(locker.lock('second'));
    await stage.queued('second', 2);

    const state = await locker.inspect('second');
    expect(state.holders).toMatchObject([{ key, foreign: true }]);
    expect(state.waiters).toMatchObject([{ foreign: false }]);
    expect(waiting.isSettled).toBe(false);
    other.signal('SIGINT');

    expect((await waiting.promise).held).toBe(true);
  });

  test('exclude each other when etcdctl holds and is killed', async () => {
    await using other = startEtcdctl('third');
    await other.reached(holding);
    const waiting = follow(stage.createLocker().lock('third'));
    await stage.queued('third', 2);

    other.signal('SIGKILL');

    expect((await waiting.promise).held).toBe(true);
  });

  test('hold in the order of their entries in a mixed queue', async () => {
    const lock = await stage.createLocker().lock('fourth');
    const order: string[] = [];
    const releases: (() => Promise<void>)[] = [];
    const processes: TestProcess[] = [];
    for (const [index, kind] of ['etcdctl', 'locker', 'etcdctl', 'locker', 'locker', 'etcdctl'].entries()) {
      const contender = `${kind} ${String(index)}`;
      if (kind === 'etcdctl') {
        const process = startEtcdctl('fourth');
        processes.push(process);
        void process.reached(holding).then(() => order.push(contender));
        releases.push(async () => {
          await process.reached(holding);
          process.signal('SIGINT');
        });
      } else {
        const locking = stage.createLocker().lock('fourth');
        void locking.then(() => order.push(contender));
        releases.push(async () => (await locking).release());
      }
      await stage.queued('fourth', index + 2);
    }

    await lock.release();
    for (const [index, release] of releases.entries()) {
      await eventually(() => {
        expect(order).toHaveLength(index + 1);
      });
      await release();
    }
    await Promise.all(processes.map(({ ended }) => ended));

    expect(order).toEqual(['etcdctl 0', 'locker 1', 'etcdctl 2', 'locker 3', 'locker 4', 'etcdctl 5']);
  });
});

describe('lock.guard', () => {
  test('lets a transaction of another client write only while the lock is held', async () => {
    const client = new Etcd3({ hosts: stage.server.endpoint });
    const write = (lock: { guard: readonly [string, 'Create', '==', string] }, value: string) =>
      client
        .if(...lock.guard)
        .then(client.put('guarded').value(value))
        .commit();
    try {
      const [locker, others] = [stage.createLocker(), stage.createLocker()];
      const lock = await locker.lock('x');
      expect((await write(lock, 'while held')).succeeded).toBe(true);

      await lock.release();
      expect((await write(lock, 'after release')).succeeded).toBe(false);

      const next = await others.lock('x');
      expect((await write(lock, 'while another holds')).succeeded).toBe(false);
      expect((await write(next, 'by the other')).succeeded).toBe(true);
      await stage.etcd.delete(next.key);
      expect((await write(next, 'after a loss')).succeeded).toBe(false);
      expect(await client.get('guarded')).toBe('by the other');
    } finally {
      await client.delete().key('guarded');
      client.close();
    }
  });
});
