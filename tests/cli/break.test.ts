import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/fixtures/etcd-stage.ts';
import { follow } from '../support/fixtures/holding.ts';
import { type CommandStage, listener, openCommandStage } from './command.ts';

let stage: CommandStage;
beforeAll(async () => {
  stage = await openCommandStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

test('break --yes removes the holder, prints it, and the command of the holder is stopped', async () => {
  await using holder = stage.launch('--ttl', '60s', '--value', 'the holder', 'broken', ...listener());
  await holder.reached(/^working/);
  const waiting = follow(stage.createLocker().lock('broken'));
  await stage.queued('broken', 2);
  const [entry] = await stage.etcd.entries('broken');

  const { code, stdout, stderr } = await stage.run('break', '--yes', 'broken');

  expect([code, stderr]).toEqual([0, '']);
  const rows = stdout.split('\n').map((line) => line.split(/ {2,}/));
  expect(rows.slice(0, 2)).toEqual([['removed:'], ['PLACE', 'KIND', 'TOKEN', 'LEASE', 'LEFT', 'VALUE', 'KEY']]);
  expect(rows[2]).toMatchObject([
    'holds',
    'exclusive',
    String(entry?.createRevision),
    expect.anything(),
    expect.anything(),
    'the holder',
    entry?.key,
  ]);
  const ended = await holder.ended;
  expect(ended.code).toBe(75);
  expect(ended.stderr).toContain('its key in etcd was deleted; stopping the command');
  await (await waiting.promise).release();
});

test('break --token removes only the holder with this token, and --json prints what it removed', async () => {
  const [one, other] = [stage.createLocker({ value: 'one' }), stage.createLocker({ value: 'other' })];
  const [first, second] = [await one.lock('slots', { slots: 2 }), await other.lock('slots', { slots: 2 })];

  const wrong = await stage.run('break', '--yes', '--token', '9000000', 'slots');
  const { code, stdout } = await stage.run('break', '--yes', '--json', '--token', String(second.fencingToken), 'slots');

  expect(wrong).toEqual({
    code: 0,
    signal: null,
    stdout: '',
    stderr: 'etcd-locker: No holder of lock "slots" has the token 9000000: nothing was removed\n',
  });
  expect([code, JSON.parse(stdout)]).toMatchObject([
    0,
    {
      name: 'slots',
      removed: [{ value: 'other', fencingToken: String(second.fencingToken), leaseRemainingMs: expect.any(Number) as number }],
    },
  ]);
  await eventually(() => {
    expect([first.held, second.held]).toEqual([true, false]);
  });
  await first.release();
});

test('break of a free name removes nobody, and exits with 0', async () => {
  const table = await stage.run('break', '--yes', 'free');
  const json = await stage.run('break', '--yes', '--json', 'free');

  expect(table).toMatchObject({ code: 0, stdout: '', stderr: 'etcd-locker: Lock "free" is free: there is nobody to remove\n' });
  expect([json.code, JSON.parse(json.stdout)]).toEqual([0, { name: 'free', removed: [] }]);
});

test('break without a terminal and without --yes is a usage error, and removes nobody', async () => {
  await using lock = await stage.createLocker().lock('kept');

  const { code, stdout, stderr } = await stage.run('break', 'kept');

  expect([code, stdout, stderr]).toEqual([
    64,
    '',
    'etcd-locker: break: expected --yes, because there is no terminal to ask on (see etcd-locker --help)\n',
  ]);
  expect(await stage.etcd.entries('kept')).toHaveLength(1);
  expect(lock.held).toBe(true);
});
