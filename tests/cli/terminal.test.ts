/** Runs the command in a terminal that `script` of util-linux creates. Every Debian has it. */
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestProcess } from '../support/run/processes.ts';
import { clean, type CommandStage, listener, main, openCommandStage } from './command.ts';

const hasScript = /util-linux/.test(String(spawnSync('script', ['--version']).stdout));
if (!hasScript) console.warn('Skipped: the command in a terminal. This machine has no `script` of util-linux.');

const ctrl = { c: '\x03', backslash: '\x1c' };

describe.skipIf(!hasScript)('etcd-locker in a terminal', () => {
  let stage: CommandStage;
  beforeAll(async () => {
    stage = await openCommandStage();
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  /** Runs the command without echo, so that its output stands alone. `script -e` exits with its status. */
  function typeAt(...args: readonly string[]): TestProcess {
    const words = [process.execPath, main, ...stage.options, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
    const command = `stty -echo; exec ${words.join(' ')}`;
    return new TestProcess('script', ['-qefc', command, '/dev/null'], { ...clean, SHELL: '/bin/sh' }, { stdin: 'pipe' });
  }

  test('a typed signal reaches the command once, and etcd-locker forwards other signals', async () => {
    await using terminal = typeAt('typed', ...listener('process.exit(7)'));
    const { step } = await terminal.reached(/^working/);
    const [entry] = await stage.etcd.entries('typed');
    const [, pid] = / by (\d+)$/.exec(step) ?? [];

    terminal.type(ctrl.c);
    await terminal.reached('SIGINT 1');
    terminal.type(ctrl.backslash);
    await terminal.reached('SIGQUIT 2');
    terminal.type(ctrl.c);
    await terminal.reached('SIGINT 3');
    expect(await stage.etcd.entries('typed')).toEqual([entry]);
    process.kill(Number(pid), 'SIGTERM');

    expect((await terminal.ended).code).toBe(7);
    expect(terminal.steps.slice(1).map((one) => one.step)).toEqual(['SIGINT 1', 'SIGQUIT 2', 'SIGINT 3', 'SIGTERM 4']);
    expect(await stage.etcd.entries('typed')).toEqual([]);
  });

  test('if ^C ends the command, the lock is released and the status is 130', async () => {
    await using terminal = typeAt('ended', '--', 'sh', '-c', 'echo working; exec sleep 60');
    await terminal.reached('working');

    terminal.type(ctrl.c);

    expect((await terminal.ended).code).toBe(130);
    expect(await stage.etcd.entries('ended')).toEqual([]);
  });

  test('^C while it waits removes its entry, and the status is 130', async () => {
    const lock = await stage.createLocker().lock('waits');
    await using terminal = typeAt('waits', '--', 'echo', 'no');
    await stage.queued('waits', 2);

    terminal.type(ctrl.c);

    expect((await terminal.ended).code).toBe(130);
    expect(terminal.steps).toEqual([]);
    expect(await stage.etcd.entries('waits')).toHaveLength(1);
    await lock.release();
  });

  test('^C ends watch, and the status is 130', async () => {
    await using terminal = typeAt('watch', 'watched');
    await terminal.reached(/^\d{4}-/);

    terminal.type(ctrl.c);

    expect((await terminal.ended).code).toBe(130);
  });

  test.each([
    ['y', 'y\n', 0, 0],
    ['Yes', 'Yes\n', 0, 0],
    ['n', 'n\n', 75, 1],
    ['nothing', '\n', 75, 1],
    ['^D', '\x04', 75, 1],
  ])('break shows the holder and asks: the answer is %s', async (answer, typed, code, left) => {
    const name = `asked ${answer}`;
    const lock = await stage.createLocker({ value: 'the holder' }).lock(name);
    await using terminal = typeAt('break', name);
    await terminal.reached(/^A process that still runs/);
    const [header, row] = terminal.steps;
    expect(header?.step).toMatch(/^PLACE +KIND +TOKEN +LEASE +LEFT +VALUE +KEY/);
    expect(row?.step).toMatch(new RegExp(`^holds +exclusive +${String(lock.fencingToken)} .* the holder +`));

    terminal.type(typed);

    expect((await terminal.ended).code).toBe(code);
    expect(terminal.steps.some(({ step }) => step.includes('nothing was removed'))).toBe(left === 1);
    expect(await stage.etcd.entries(name)).toHaveLength(left);
    await lock.release();
  });

  test('^C at the question of break removes nobody, and the status is 130', async () => {
    const lock = await stage.createLocker().lock('interrupted');
    await using terminal = typeAt('break', 'interrupted');
    await terminal.reached(/^A process that still runs/);

    terminal.type(ctrl.c);

    expect((await terminal.ended).code).toBe(130);
    expect(lock.held).toBe(true);
    await lock.release();
  });

  test('break removes only the holders that it has shown', async () => {
    const locker = stage.createLocker();
    const lock = await locker.lock('changed');
    await using terminal = typeAt('break', 'changed');
    await terminal.reached(/^A process that still runs/);
    await lock.release();
    await using next = await locker.lock('changed');

    terminal.type('y\n');

    expect((await terminal.ended).code).toBe(0);
    expect(terminal.steps.at(-1)?.step).toMatch(/1 of the holders had left by themselves$/);
    expect(next.held).toBe(true);
  });

  test('the command reads from the terminal', async () => {
    await using terminal = typeAt('reads', '--', 'sh', '-c', 'echo working; read line; echo "got $line"; exit 3');
    await terminal.reached('working');

    terminal.type('hello\n');

    expect((await terminal.ended).code).toBe(3);
    expect(terminal.steps.at(-1)).toEqual({ step: 'got hello' });
  });

  test('if the terminal is closed, the command ends and the lock is released', async () => {
    const terminal = typeAt('hung up', '--', 'sh', '-c', 'echo working; exec sleep 60');
    await terminal.reached('working');

    await terminal[Symbol.asyncDispose]();

    await stage.queued('hung up', 0);
  });
});
