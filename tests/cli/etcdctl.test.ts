import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findEtcd } from '../support/etcd/etcd.ts';
import { TestProcess } from '../support/run/processes.ts';
import { type CommandStage, listener, openCommandStage } from './command.ts';

const source = await findEtcd();
const etcdctl = source.kind === 'binary' ? source.etcdctl : null;
if (etcdctl === null) console.warn('Skipped: the command and `etcdctl lock`. This etcd has no etcdctl.');

let stage: CommandStage;
beforeAll(async () => {
  stage = await openCommandStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

const etcdctlLock = (name: string): TestProcess =>
  new TestProcess(etcdctl ?? 'etcdctl', ['--endpoints', stage.server.endpoint, 'lock', `${stage.prefix}${name}`, '--ttl', '2'], {
    PATH: process.env['PATH'],
    ETCDCTL_API: '3',
  });

describe.skipIf(etcdctl === null)('etcd-locker and `etcdctl lock` exclude each other', () => {
  test('etcdctl waits for the command', async () => {
    const child = stage.launch('first', ...listener());
    await child.reached(/^working/);
    await using other = etcdctlLock('first');
    await stage.queued('first', 2);
    expect(other.steps).toEqual([]);

    child.signal('SIGTERM');

    expect((await child.ended).code).toBe(0);
    await other.reached(/\/first\/[0-9a-f]+$/);
    other.signal('SIGINT');
    await other.ended;
  });

  test('the command waits for etcdctl', async () => {
    await using other = etcdctlLock('second');
    await other.reached(/\/second\/[0-9a-f]+$/);
    expect((await stage.run('--try', 'second', '--', 'true')).code).toBe(75);
    const child = stage.launch('second', ...listener());
    await stage.queued('second', 2);
    expect(child.steps).toEqual([]);

    other.signal('SIGINT');

    await child.reached(/^working/);
    child.signal('SIGTERM');
    expect((await child.ended).code).toBe(0);
    expect(await stage.etcd.entries('second')).toEqual([]);
  });
});
