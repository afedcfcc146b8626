import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { TestProcess } from '../support/run/processes.ts';

const source = await findEtcd();
const etcdctl = source.kind === 'binary' ? source.etcdctl : null;
if (etcdctl === null) console.warn('Skipped: the tests with `etcdctl lock`, as this etcd came without an etcdctl.');

let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

/** `etcdctl lock` tells the key when it has the lock, and gives it back when it is interrupted. */
const etcdctlLock = (name: string): TestProcess =>
  new TestProcess(etcdctl ?? 'etcdctl', ['--endpoints', stage.server.endpoint, 'lock', `locks/${name}`, '--ttl', '2'], {
    PATH: process.env['PATH'],
    ETCDCTL_API: '3',
  });
const held = /^locks\/.+\/[0-9a-f]+$/;

describe.skipIf(etcdctl === null)('lock() and `etcdctl lock`', () => {
  test('exclude each other when the locker has it first', async () => {
    const lock = await stage.createLocker().lock('first');
    await using other = etcdctlLock('first');
    await stage.queued('first', 2);

    expect(other.steps).toEqual([]);
    await lock.release();

    await other.reached(held);
    other.signal('SIGINT');
    await other.ended;
    expect(await stage.etcd.entries('first')).toEqual([]);
  });

  test('exclude each other when etcdctl has it first', async () => {
    await using other = etcdctlLock('second');
    const { step: key } = await other.reached(held);
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
    await using other = etcdctlLock('third');
    await other.reached(held);
    const waiting = follow(stage.createLocker().lock('third'));
    await stage.queued('third', 2);

    other.signal('SIGKILL');

    expect((await waiting.promise).held).toBe(true);
  });

  test('serve first who came first in a queue of both', async () => {
    const lock = await stage.createLocker().lock('fourth');
    const order: string[] = [];
    const came: (() => Promise<void>)[] = [];
    const processes: TestProcess[] = [];
    for (const [index, kind] of ['etcdctl', 'locker', 'etcdctl', 'locker', 'locker', 'etcdctl'].entries()) {
      const who = `${kind} ${String(index)}`;
      if (kind === 'etcdctl') {
        const process = etcdctlLock('fourth');
        processes.push(process);
        void process.reached(held).then(() => order.push(who));
        came.push(async () => {
          await process.reached(held);
          process.signal('SIGINT');
        });
      } else {
        const locking = stage.createLocker().lock('fourth');
        void locking.then(() => order.push(who));
        came.push(async () => (await locking).release());
      }
      await stage.queued('fourth', index + 2);
    }

    await lock.release();
    for (const [index, leave] of came.entries()) {
      await eventually(() => {
        expect(order).toHaveLength(index + 1);
      });
      await leave();
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
