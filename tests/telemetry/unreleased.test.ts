/** Tests of handles that a program drops without a release. Each program runs in a process of its own, and collects its garbage. */
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { TestProcess } from '../support/run/processes.ts';

const worker = fileURLToPath(new URL('workers/unreleased.ts', import.meta.url));
const modules = fileURLToPath(new URL('workers/modules.ts', import.meta.url));
const start = (...args: readonly string[]): TestProcess => new TestProcess(process.execPath, ['--expose-gc', ...args]);

describe('a lock whose handle the program dropped', { concurrent: true }, () => {
  test.each([
    'dropped',
    'dropped after its signal and guard were used',
    'dropped after its wanted was used',
    'dropped after its wanted has aborted',
    'dropped, taken by a try',
    'dropped, several names',
    'dropped, with a limit',
    'dropped, with keepMs',
    'dropped, without renewal',
  ])('is released, and the log says so: %s', async (scenario) => {
    await using program = start(worker, scenario);

    const { held, lines } = await program.reached('collected');

    expect(held).toBe(false);
    const line = expect.stringMatching(
      /^etcd-locker: lock "[ab]" \(token \d+\) was dropped without a release, so it is released now; keep its handle/,
    ) as unknown;
    expect(lines).toEqual(scenario.includes('several') ? [line, line] : [line]);
    expect(await program.ended).toMatchObject({ code: 0 });
  });

  test('is released with a warning of the process if the locker has no logger', async () => {
    await using program = start(worker, 'dropped', 'no logger');

    const { held } = await program.reached('collected');

    expect(held).toBe(false);
    expect((await program.ended).stderr).toMatch(/\[ETCD_LOCKER_UNRELEASED\] EtcdLockerWarning: lock "a" \(token \d+\) was dropped/);
  });
});

describe('a lock that the program still uses stays held', { concurrent: true }, () => {
  test.each([
    ['kept in an object', []],
    ['its signal is kept', []],
    ['its signal has a listener', ['a']],
    ['its wanted is kept', []],
    ['its wanted has a listener', []],
    ['its signal gets a listener late', ['a']],
    ['one of several names is kept', []],
    ['the signal of several names has a listener', ['all']],
    ['withLock() runs', []],
    ['lead() runs', []],
    ['a callback of Web Locks runs', []],
  ])('%s', async (scenario, aborts) => {
    await using program = start(worker, scenario);

    expect(await program.reached('collected')).toMatchObject({ held: true, lines: [] });
    expect(await program.reached('lost')).toMatchObject({
      aborts,
      signals: scenario === 'its signal is kept' ? [true] : (expect.any(Array) as unknown),
    });
  });

  test('in a variable of a module that is exported, or that a function reads', async () => {
    await using program = start(modules);

    expect(await program.reached('collected')).toMatchObject({ held: { exported: true, read: true, dropped: false } });
  });
});
