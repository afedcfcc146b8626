import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, memberOf } from '../support/fixtures/etcd-stage.ts';
import { atOnceMs, clean, type CommandStage, main, openCommandStage, outcome } from './command.ts';

const canFreeze = await canControlServers();
/** Clears the screen, changes colours, breaks the line, reverses the direction of text. */
const hostile = 'a\u001b[2Jb\u009b31m\r\n\u202e\u200fc\u0000';
const escapedHostile = 'a\\u001b[2Jb\\u009b31m\\u000d\\u000a\\u202e\\u200fc\\u0000';

let stage: CommandStage;
beforeAll(async () => {
  stage = await openCommandStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

const json = (stdout: string): unknown[] =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
/** Characters that control a terminal, except line feeds. */
const controls = /[^\P{Cc}\n]|\p{Bidi_Control}/u;

describe('etcd-locker inspect', { timeout: 60_000 }, () => {
  test('prints a free lock', async () => {
    const table = await stage.run('inspect', 'free');
    const lines = await stage.run('inspect', '--json', 'free');

    expect(table).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^free is free, as of revision \d+\n$/) as string });
    expect(json(lines.stdout)).toMatchObject([{ name: 'free', held: false, holders: [], waiters: [], waiting: 0 }]);
  });

  test('prints holders and waiters in order, with control characters escaped', async () => {
    const lock = await stage.createLocker({ value: hostile }).lock('queue');
    const waiting = follow(stage.createLocker({ value: 'next' }).lock('queue', { mode: 'shared' }));
    await stage.queued('queue', 2);
    const last = follow(stage.createLocker({ value: 'last' }).lock('queue', { slots: 3 }));
    await stage.queued('queue', 3);

    const { stdout } = await stage.run('inspect', 'queue');
    const [state] = json((await stage.run('inspect', '--json', 'queue')).stdout);

    const rows = stdout.split('\n').map((line) => line.split(/ {2,}/));
    expect(rows.slice(2, 3)).toEqual([['PLACE', 'KIND', 'TOKEN', 'LEASE', 'LEFT', 'VALUE', 'KEY']]);
    expect(rows.slice(3, 6).map(([place, kind, , , , value]) => [place, kind, value])).toEqual([
      ['holds', 'exclusive', escapedHostile],
      ['waits 1', 'shared', 'next'],
      ['waits 2', '3 slots', 'last'],
    ]);
    expect(rows[3]?.slice(2, 4)).toEqual([String(lock.fencingToken), BigInt(lock.leaseId).toString(16)]);
    expect(rows.slice(3, 6).map((row) => row[4])).toEqual([1, 2, 3].map(() => expect.stringMatching(/^1?\ds$/) as string));
    expect(stdout).not.toMatch(controls);
    expect(state).toMatchObject({
      held: true,
      localWaiting: 0,
      holders: [
        {
          leaseRemainingMs: expect.any(Number) as number,
          value: hostile,
          fencingToken: String(lock.fencingToken),
          key: lock.key,
          slots: 1,
        },
      ],
      waiters: [
        { value: 'next', mode: 'shared', slots: null },
        { value: 'last', slots: 3 },
      ],
    });
    await lock.release();
    await (await waiting.promise).release();
    await (await last.promise).release();
  });

  test('with --check prints nothing: the status is 0 for a free lock, and 75 for a held one', async () => {
    await using lock = await stage.createLocker().lock('checked');

    const [held, free] = [await stage.run('inspect', '--check', 'checked'), await stage.run('inspect', '--check', 'unchecked')];

    expect([held, free]).toEqual([
      { code: 75, signal: null, stdout: '', stderr: '' },
      { code: 0, signal: null, stdout: '', stderr: '' },
    ]);
    expect(lock.held).toBe(true);
  });

  test.each([['list'], ['watch', 'x'], ['inspect', 'x'], ['inspect', '--check', 'x'], ['break', '--yes', 'x']])(
    '%s exits with 69 if etcd is unreachable',
    async (...words) => {
      const { code, stdout, stderr } = await outcome(['--hosts', '127.0.0.1:1', '--request-timeout', '300ms', ...words]);

      expect({ code, stderr }).toEqual({ code: 69, stderr: expect.stringMatching(/^etcd-locker: Cannot reach etcd [^\n]+\n$/) as string });
      expect(stdout).toBe(words[0] === 'watch' ? 'TIME                      WAITING  HOLDERS\n' : '');
    },
  );
});

describe('etcd-locker list', { timeout: 60_000 }, () => {
  test('prints all names with kinds and values, or only names with a prefix', async () => {
    const one = stage.createLocker({ value: hostile });
    const other = stage.createLocker({ value: 'other' });
    const locks = await Promise.all([
      one.lock('list/\u001b[1m'),
      ...[one, other].map((locker) => locker.lock('list/readers', { mode: 'shared' })),
      ...[one, other].map((locker) => locker.lock('list/slots', { slots: 2 })),
      other.lock('else'),
    ]);

    const table = await stage.run('list', 'list/');
    const lines = await stage.run('list', '--json');

    const rows = table.stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    expect(rows[0]?.slice(4)).toEqual(['TOKEN', 'LEFT', 'VALUE']);
    expect(rows.slice(1).map((row) => row[5])).toEqual([1, 2, 3].map(() => expect.stringMatching(/^1?\ds$/) as string));
    expect(rows.map(([name, kind, holders, waiting]) => [name, kind, holders, waiting])).toEqual([
      ['NAME', 'KIND', 'HOLDERS', 'WAITING'],
      ['list/\\u001b[1m', 'exclusive', '1', '0'],
      ['list/readers', 'shared', '2', '0'],
      ['list/slots', '2 slots', '2', '0'],
    ]);
    expect(table.stdout).not.toMatch(controls);
    expect(table.stdout).toContain(escapedHostile);
    expect(json(lines.stdout)).toMatchObject([
      { name: 'else', holders: [{ value: 'other' }] },
      { name: 'list/\u001b[1m', holders: [{ value: hostile, slots: 1 }] },
      { name: 'list/readers', holders: [{ slots: null }, { slots: null }] },
      { name: 'list/slots', holders: [{ slots: 2 }, { slots: 2 }] },
    ]);
    await Promise.all(locks.map((lock) => lock.release()));
  });

  test('prints everything to a slow reader, and ends with status 141 (SIGPIPE) if the reader is gone', async () => {
    const locker = stage.createLocker({ value: 'x'.repeat(60_000) });
    const locks = await locker.lockAll(['a', 'b', 'c', 'd', 'e'].map((name) => `big/${name}`));
    const words = [process.execPath, main, ...stage.options, 'list', '--json'];
    const sh = (text: string) => promisify(execFile)('sh', ['-c', text, 'sh', ...words], { env: clean });

    expect((await sh('"$@" | { sleep 1; wc -l; }')).stdout.trim()).toBe('5');
    // A pipe hides the exit status, so the shell prints it to stderr.
    const { stdout, stderr } = await sh('{ "$@"; echo "status $?" >&2; } | head -1 | cut -c 1-16');

    expect([stdout, stderr]).toEqual(['{"name":"big/a",\n', 'status 141\n']);
    await locks.release();
  });

  test.skipIf(process.platform !== 'linux')('exits with 74 and one line if the disk is full', async () => {
    const words = [process.execPath, main, ...stage.options, 'list'];
    const failed = promisify(execFile)('sh', ['-c', '"$@" >/dev/full', 'sh', ...words], { env: clean });

    await expect(failed).rejects.toMatchObject({
      code: 74,
      stderr: expect.stringMatching(/^etcd-locker: Cannot write to stdout: ENOSPC[^\n]*\n$/) as string,
    });
  });
});

describe('etcd-locker watch', { timeout: 60_000 }, () => {
  test('prints one line for each change', async () => {
    await using watching = stage.launch('watch', 'lines');
    await watching.reached(/^TIME {22}WAITING {2}HOLDERS$/);
    await watching.reached(/^\d{4}-\d\d-\d\dT[\d:.]+Z {2}0 {8}-$/);
    const lock = await stage.createLocker({ value: hostile }).lock('lines');
    await eventually(() => {
      expect(watching.steps.at(-1)?.step.endsWith(`  0        ${escapedHostile}`)).toBe(true);
    });
    await lock.setValue('another');
    await watching.reached(/ another$/);
    await lock.release();

    await eventually(() => {
      expect(watching.steps.at(-1)?.step).toMatch(/ -$/);
    });
    watching.signal('SIGTERM');

    expect(await watching.ended).toEqual({ code: null, signal: 'SIGTERM', stderr: '' });
    expect(watching.steps).toHaveLength(5);
  });

  test('without a name prints the changes of all names', async () => {
    const locker = stage.createLocker({ value: 'me' });
    await using kept = await locker.lock('all/kept');
    await using watching = stage.launch('watch');
    await watching.reached(/^TIME {22}WAITING {2}NAME {22}HOLDERS$/);
    await watching.reached(/Z {2}0 {8}all\/kept {18}me$/);

    await locker.withLock('all/other', () => watching.reached(/Z {2}0 {8}all\/other {17}me$/));

    await watching.reached(/Z {2}0 {8}all\/other {17}-$/);
    watching.signal('SIGTERM');
    expect(await watching.ended).toEqual({ code: null, signal: 'SIGTERM', stderr: '' });
    expect(kept.held).toBe(true);
  });

  test('prints each change as JSON', async () => {
    await using watching = stage.launch('watch', '--json', 'json');
    const isAt = (state: object) =>
      eventually(() => {
        expect(watching.steps.at(-1)).toMatchObject({ name: 'json', waiting: 0, ...state });
      });
    await isAt({ held: false, holders: [] });
    const lock = await stage.createLocker({ value: hostile }).lock('json');
    await isAt({ held: true, holders: [{ value: hostile, fencingToken: String(lock.fencingToken), leaseId: lock.leaseId }] });
    await lock.release();
    await isAt({ held: false, holders: [] });

    watching.signal('SIGINT');

    expect(await watching.ended).toEqual({ code: null, signal: 'SIGINT', stderr: '' });
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('ends by %s at once', async (signal) => {
    await using watching = stage.launch('watch', 'quiet');
    await watching.reached(/ -$/);
    const startedAt = performance.now();

    watching.signal(signal);

    expect(await watching.ended).toEqual({ code: null, signal, stderr: '' });
    expect(performance.now() - startedAt).toBeLessThan(atOnceMs);
  });
});

describe.skipIf(!canFreeze)('watch in an outage', { timeout: 60_000 }, () => {
  afterAll(() => {
    memberOf(stage.server).thaw();
  });

  test('says that the holders may be old, and when they are known again', async () => {
    await using lock = await stage.createLocker({ value: 'me', ttlMs: 60_000 }).lock('silent');
    await using lines = stage.launch('watch', '--request-timeout', '1s', 'silent');
    await using states = stage.launch('watch', '--json', '--request-timeout', '1s', 'silent');
    await lines.reached(/ {2}me$/);
    await eventually(() => {
      expect(states.steps.at(-1)).toMatchObject({ held: true, current: true });
    });

    await memberOf(stage.server).freeze();
    await lines.reached(/ {2}me {2}\(etcd is silent: this may be old\)$/);
    await eventually(() => {
      expect(states.steps.at(-1)).toMatchObject({ held: true, current: false });
    });
    memberOf(stage.server).thaw();

    await eventually(() => {
      expect(lines.steps.at(-1)?.step).toMatch(/ {2}me$/);
      expect(states.steps.at(-1)).toMatchObject({ held: true, current: true });
    });
    expect(lock.held).toBe(true);
  });
});

describe.skipIf(!canFreeze)('while etcd does not answer', () => {
  afterAll(() => {
    memberOf(stage.server).thaw();
  });

  test.each([['inspect', 'x'], ['list'], ['watch', 'x']])('%s ends by SIGINT at once', async (...words) => {
    await memberOf(stage.server).freeze();
    const child = spawn(process.execPath, [main, ...stage.options, '--verbose', ...words], {
      env: clean,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const startedAt = performance.now();

    child.kill('SIGINT');

    expect(await once(child, 'close')).toEqual([null, 'SIGINT']);
    expect(performance.now() - startedAt).toBeLessThan(atOnceMs);
  });
});
