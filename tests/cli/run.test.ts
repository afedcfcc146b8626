import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, hungHost, type HungHost } from '../support/etcd/etcd.ts';
import { memberOf } from '../support/fixtures/etcd-stage.ts';
import { atOnceMs, type CommandStage, listener, main, openCommandStage, outcome, script, start } from './command.ts';

/** A shell command that starts another process of the same group. */
const other = (onTerm: string): string => `sh -c 'trap ${onTerm} TERM; echo other $$; while :; do sleep 0.1; done'`;

/** A zombie does not count: it has ended, but its parent has not read its status yet. */
function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    return !/^ [ZX]/.test(stat.slice(stat.lastIndexOf(')') + 1));
  } catch {
    return false;
  }
}

const canFreeze = await canControlServers();
let hung: HungHost;
let stage: CommandStage;
let run: CommandStage['run'];
let launch: CommandStage['launch'];
beforeAll(async () => {
  hung = await hungHost();
  stage = await openCommandStage();
  ({ run, launch } = stage);
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await hung.close();
});

describe('etcd-locker NAME -- COMMAND', () => {
  test('runs the command while it holds the lock, and passes name, key and token in variables', async () => {
    const locker = stage.createLocker();
    const child = launch(
      '--value',
      'night shift',
      'env',
      ...script('console.log(JSON.stringify({ step: "env", ...process.env })); setInterval(() => {}, 1000)'),
    );
    const { ETCD_LOCKER_NAME, ETCD_LOCKER_KEY, ETCD_LOCKER_TOKEN } = await child.reached('env');

    const { holders } = await locker.inspect('env');

    expect(holders).toMatchObject([{ value: 'night shift', key: ETCD_LOCKER_KEY, foreign: false }]);
    expect([ETCD_LOCKER_NAME, ETCD_LOCKER_TOKEN]).toEqual(['env', String(holders[0]?.fencingToken)]);
    child.signal('SIGTERM');
    expect(await child.ended).toEqual({ code: null, signal: 'SIGTERM', stderr: '' });
    expect((await locker.inspect('env')).held).toBe(false);
  });

  test('--min-hold leaves the lock taken after the command and etcd-locker have ended', { timeout: 30_000 }, async () => {
    const locker = stage.createLocker();
    const options = ['--min-hold', '4s', '--try', 'tick'];
    const first = await run(...options, ...script('process.exit(3)'));
    const { held, holders } = await locker.inspect('tick');
    const second = await run(...options, ...script('console.log("ran twice")'));

    expect([first.code, held, holders.length]).toEqual([3, true, 1]);
    expect(second).toMatchObject({ code: 75, stdout: '' });
    // The name becomes free by itself.
    expect((await locker.lock('tick', { timeoutMs: 12_000 })).fencingToken).toBeGreaterThan(holders[0]?.fencingToken ?? 0n);
  });

  test('reads the hosts from ETCDCTL_ENDPOINTS', async () => {
    const { code, stdout } = await outcome(['--prefix', stage.prefix, 'hosts', ...script('console.log("done")')], {
      ETCDCTL_ENDPOINTS: stage.server.endpoints.join(','),
    });

    expect([code, stdout]).toEqual([0, 'done\n']);
  });

  test.each([
    ['a status', script('process.exit(42)'), { code: 42, signal: null, stderr: '' }],
    ['a signal', script('process.kill(process.pid, "SIGTERM")'), { code: null, signal: 'SIGTERM', stderr: '' }],
    ['SIGKILL', script('process.kill(process.pid, "SIGKILL")'), { code: null, signal: 'SIGKILL', stderr: '' }],
    ['a signal that leaves a core file', ['--', 'sh', '-c', 'ulimit -c 0; kill -QUIT $$'], { code: 131, signal: null, stderr: '' }],
    [
      'an unknown command',
      ['--', 'no-such-command'],
      { code: 127, signal: null, stderr: 'etcd-locker: Cannot run "no-such-command": command not found\n' },
    ],
    ['a directory', ['--', '/'], { code: 126, signal: null }],
    [
      'a path below a file',
      ['--', '/dev/null/x'],
      { code: 126, signal: null, stderr: 'etcd-locker: Cannot run "/dev/null/x": spawn ENOTDIR\n' },
    ],
    ['a name that is too long', ['--', 'x'.repeat(300)], { code: 126, signal: null }],
  ])('ends like its command: %s', async (name, command, ending) => {
    expect(await run(name, ...command)).toMatchObject(ending);
  });

  test('exits with 75 if the lock is held: at once with --try, after the time limit with --timeout', async () => {
    await using lock = await stage.createLocker({ value: 'somebody' }).lock('taken');
    expect(await run('--try', 'taken', '--', 'echo', 'no')).toEqual({
      code: 75,
      signal: null,
      stdout: '',
      stderr: `etcd-locker: Cannot acquire lock "taken" now: held by somebody (token ${String(lock.fencingToken)})\n`,
    });
    // Loading the client takes a part of the time.
    expect(await run('--timeout', '2s', 'taken', '--', 'echo', 'no')).toEqual({
      code: 75,
      signal: null,
      stdout: '',
      stderr: expect.stringMatching(/^etcd-locker: Cannot lock "taken" within 2000 ms: held by "somebody"\n$/) as string,
    });
    expect(lock.held).toBe(true);
  });

  test('--verbose says what it waits for: its place, the holder and each change', async () => {
    const [one, other] = [stage.createLocker({ value: 'one' }), stage.createLocker({ value: 'other' })];
    const lock = await one.lock('verbose');
    const between = other.lock('verbose');
    await stage.queued('verbose', 2);
    await using waiting = stage.launch('--verbose', '--value', 'me', 'verbose', '--', 'echo', 'done');
    await stage.queued('verbose', 3);
    await new Promise((resolve) => setTimeout(resolve, 1_000));

    await lock.release();
    const next = await between;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await next.release();

    const { code, stderr } = await waiting.ended;
    expect(code).toBe(0);
    expect(stderr.split('\n').filter((line) => line.includes('Waiting for'))).toEqual([
      'etcd-locker: Waiting for lock "verbose": place 2 of 2, held by one',
      'etcd-locker: Waiting for lock "verbose": place 1 of 1, held by other',
    ]);
  });

  test('--max-hold stops the command, holds the lock until it has ended, and exits with 75', async () => {
    const startedAt = performance.now();
    const holding = stage.run('--max-hold', '500ms', '--grace', '1500ms', 'limited', ...listener(''));
    await stage.queued('limited', 1);
    await using next = await stage.createLocker().lock('limited');
    const waitedMs = performance.now() - startedAt;
    const { code, stderr, stdout } = await holding;

    expect([code, stderr]).toEqual([
      75,
      'etcd-locker: The command has run for longer than --max-hold; stopping it\n' +
        'etcd-locker: The command was ended by SIGKILL after it was stopped\n',
    ]);
    expect(stdout).toContain('SIGTERM 1');
    expect(waitedMs).toBeGreaterThan(2_000);
    expect(next.held).toBe(true);
  });

  test('--max-hold does not matter to a command that ends in time', async () => {
    expect(await run('--max-hold', '1m', 'short', '--', 'sh', '-c', 'exit 3')).toMatchObject({ code: 3, stderr: '' });
  });

  test.each([
    ['refuses connections', () => '127.0.0.1:1'],
    ['does not respond', () => hung.endpoint],
  ])('exits with 69 and not with 75, also with --timeout and --try, if etcd %s', async (_, hosts) => {
    const startedAt = performance.now();
    const [timed, tried, both] = await Promise.all(
      [
        ['--timeout', '2s'],
        ['--try', '--request-timeout', '1s'],
        ['--timeout', '300ms', '--slots', '2'],
      ].map((options) => outcome(['--hosts', hosts(), ...options, 'x', '--', 'true'])),
    );

    const reported = (ms: number) => ({
      code: 69,
      stderr: expect.stringContaining(`Cannot reach etcd within ${String(ms)} ms: ${hosts()} (`) as string,
    });
    expect([timed, tried, both]).toMatchObject([reported(2_000), reported(1_000), reported(300)]);
    // It does not wait for etcd until the default --request-timeout of 5 s is over.
    expect(performance.now() - startedAt).toBeLessThan(4_800);
  });

  test('exits with 69 if etcd is unreachable', async () => {
    expect(await outcome(['--hosts', '127.0.0.1:1', '--request-timeout', '300ms', 'x', '--', 'true'])).toMatchObject({
      code: 69,
      stderr: expect.stringMatching(/^etcd-locker: Cannot reach etcd within 300 ms: 127\.0\.0\.1:1 [^\n]*\n$/) as string,
    });
  });

  test.each([
    [['--ttl', '1s', 'x', '--', 'true'], '--ttl: expected at least 2000 ms, got 1000'],
    [['--hosts', 'a b', 'x', '--', 'true'], '--hosts or ETCDCTL_ENDPOINTS: expected one host'],
    [['', '--', 'true'], 'NAME: expected a name, got an empty string'],
  ])('exits with 64 and one line that names the option: %j', async (args, message) => {
    const { code, stderr } = await outcome(args);

    expect(code).toBe(64);
    expect(stderr).toMatch(/^etcd-locker: [^\n]+ \(see etcd-locker --help\)\n$/);
    expect(stderr).toContain(message);
  });

  test('--slots admits N holders, and --shared any number of sharers', { timeout: 60_000 }, async () => {
    for (const [kind, name] of [
      [['--slots', '2'], 'slots'],
      [['--shared'], 'shared'],
    ] as const) {
      const one = launch(...kind, name, ...listener());
      const two = launch(...kind, name, ...listener());
      await Promise.all([one.reached(/^working/), two.reached(/^working/)]);
      expect((await run('--try', name, '--', 'true')).code).toBe(75);
      expect((await run('--try', ...kind, name, '--', 'true')).code).toBe(name === 'shared' ? 0 : 75);
      // SIGKILL would leave their commands running.
      for (const child of [one, two]) child.signal('SIGTERM');
      for (const child of [one, two]) expect((await child.ended).code).toBe(0);
    }
  });

  test('forwards each signal once and runs until the command ends', async () => {
    const child = launch('signals', ...listener('process.exit(7)'));
    await child.reached(/^working/);
    for (const [index, signal] of (['SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGTERM'] as const).entries()) {
      child.signal(signal);
      await child.reached(`${signal} ${String(index + 1)}`);
    }

    expect(await child.ended).toEqual({ code: 7, signal: null, stderr: '' });
    expect(child.steps).toHaveLength(7);
    expect(await stage.etcd.entries('signals')).toEqual([]);
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'leaves the queue and ends by %s if the signal comes while it waits',
    async (signal) => {
      const lock = await stage.createLocker().lock(signal);
      const child = launch(signal, '--', 'echo', 'no');
      await stage.queued(signal, 2);
      child.signal('SIGUSR1'); // for the command, which does not run yet: ignored

      child.signal(signal);

      expect(await child.ended).toEqual({ code: null, signal, stderr: '' });
      expect(child.steps).toEqual([]);
      expect(await stage.etcd.entries(signal)).toHaveLength(1);
      await lock.release();
    },
  );

  test('stops the command when its key is deleted, and exits with 75 even if the command exits with 0', async () => {
    const child = launch('--ttl', '3s', '--grace', '5s', 'deleted', ...listener());
    await child.reached(/^working/);
    const [entry] = await stage.etcd.entries('deleted');
    await stage.etcd.delete(entry?.key ?? '');

    const { code, stderr } = await child.ended;

    expect(code).toBe(75);
    expect(child.steps.at(-1)).toEqual({ step: 'SIGTERM 1' });
    expect(stderr).toMatch(
      /Cannot keep lock "deleted" .*its key in etcd was deleted; stopping the command\n.*ended with status 0 after the lock was lost\n$/,
    );
  });

  test.each([
    ['SIGTERM', 'exit', 5_000],
    ['SIGKILL', ':', 300],
  ])('without a terminal a lost lock stops the whole process group of the command by %s', async (_, onTerm, graceMs) => {
    const child = launch(
      '--ttl',
      '3s',
      '--grace',
      `${String(graceMs)}ms`,
      'group',
      '--',
      'sh',
      '-c',
      `trap exit TERM; ${other(onTerm)} & wait`,
    );
    const { step } = await child.reached(/^other \d+$/);
    const [entry] = await stage.etcd.entries('group');
    await stage.etcd.delete(entry?.key ?? '');

    expect((await child.ended).code).toBe(75);
    expect(isRunning(Number(step.split(' ')[1]))).toBe(false);
  });

  test('an internal error of etcd-locker stops the command, and the exit status is 70', async () => {
    const plantedError = 'setTimeout(() => { if (process.argv[1].endsWith("main.js")) throw new Error("planted") }, 1500).unref()';
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(plantedError)}`;
    const child = start([...stage.options, '--grace', '300ms', 'failing', ...listener('undefined')], { NODE_OPTIONS });
    const { step } = await child.reached(/^working/);

    const { code, stderr } = await child.ended;

    expect(code).toBe(70);
    expect(stderr).toMatch(/^etcd-locker: Error: planted/);
    expect(child.steps.at(-1)).toEqual({ step: 'SIGTERM 1' });
    expect(() => process.kill(Number(/\d+/.exec(step)?.[0]), 0)).toThrow('ESRCH');
    expect(await stage.etcd.entries('failing')).toEqual([]);
  });

  test('releases the lock when the command has ended, even if it left a process in the background', async () => {
    expect(await run('background', '--', 'sh', '-c', 'sleep 2 >/dev/null 2>&1 & exit 3')).toMatchObject({ code: 3 });
    expect(await stage.etcd.entries('background')).toEqual([]);
  });

  test('the command inherits stdin, stdout and stderr', async () => {
    const { options } = stage;
    const words = [process.execPath, main, ...options, 'pipes', '--', 'sh', '-c', 'read line; echo "out $line"; echo "err $line" >&2'];

    const { stdout, stderr } = await promisify(execFile)('sh', ['-c', 'echo hello | "$@"', 'sh', ...words]);

    expect([stdout, stderr]).toEqual(['out hello\n', 'err hello\n']);
  });

  test('stops the command even if the reader of stderr is gone', async () => {
    const child = launch('--ttl', '3s', '--grace', '300ms', 'unheard', ...listener('undefined'));
    const { step } = await child.reached(/^working/);
    const [entry] = await stage.etcd.entries('unheard');
    child.closeStderr();
    await stage.etcd.delete(entry?.key ?? '');

    expect((await child.ended).code).toBe(75);

    expect(child.steps.at(-1)).toEqual({ step: 'SIGTERM 1' });
    expect(() => process.kill(Number(/\d+/.exec(step)?.[0]), 0)).toThrow('ESRCH');
  });

  test.skipIf(!canFreeze)('an internal error after the end of the command ends etcd-locker at once with 70', async () => {
    const plantedError = 'process.once("SIGWINCH", () => { throw new Error("planted") })';
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(plantedError)}`;
    const child = start([...stage.options, '--ttl', '2s', 'failing late', ...listener()], { NODE_OPTIONS });
    await child.reached(/^working/);
    await memberOf(stage.server).freeze();
    child.signal('SIGTERM');
    await child.reached('SIGTERM 1');
    await sleep(200);

    child.signal('SIGWINCH');

    expect(await child.ended).toMatchObject({ code: 70, stderr: expect.stringMatching(/^etcd-locker: Error: planted/) as string });
    memberOf(stage.server).thaw();
  });

  test.skipIf(!canFreeze)('a signal ends etcd-locker at once while it waits for etcd to confirm the release', async () => {
    const child = launch('--ttl', '2s', 'unconfirmed', ...listener());
    await child.reached(/^working/);
    await memberOf(stage.server).freeze();
    child.signal('SIGTERM');
    await child.reached('SIGTERM 1');
    await sleep(200);
    expect(child.isRunning).toBe(true);
    const startedAt = performance.now();

    child.signal('SIGINT');

    expect(await child.ended).toEqual({ code: null, signal: 'SIGINT', stderr: '' });
    expect(performance.now() - startedAt).toBeLessThan(atOnceMs);
    memberOf(stage.server).thaw();
  });
});
