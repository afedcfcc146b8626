/** Runs the command with open file descriptors from 3 on, as a shell, flock and make pass them. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CommandStage, type Outcome, openCommandStage, shell } from './command.ts';

const isLinux = process.platform === 'linux';
const hasMake = spawnSync('make', ['--version']).status === 0;
if (!hasMake) console.warn('Skipped: the job server of make. This machine has no `make`.');

let stage: CommandStage;
let folder: string;
beforeAll(async () => {
  stage = await openCommandStage();
  folder = mkdtempSync(join(tmpdir(), 'descriptors-'));
  writeFileSync(join(folder, 'file'), 'content\n');
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await stage[Symbol.asyncDispose]();
});

const run = (text: string): Promise<Outcome> => shell(`cd "$FOLDER"; ${text}`, stage.options, { FOLDER: folder });

/** A command that lists its open files. */
const listFiles = `sh -c 'for fd in /proc/$$/fd/*; do readlink "$fd"; echo "$fd"; done'`;

describe('descriptors from 3 on reach the command', () => {
  test.each([3, 4, 7, 9])('a file to read: %d', async (fd) => {
    expect(await run(`exec "$@" read -- sh -c 'cat <&${String(fd)}' ${String(fd)}<file`)).toMatchObject({ code: 0, stdout: 'content\n' });
  });

  test('a file to write, and its offset is shared', async () => {
    const { code } = await run(`exec 5>log; echo before >&5; "$@" write -- sh -c 'echo inside >&5'; echo after >&5`);

    expect(code).toBe(0);
    expect(readFileSync(join(folder, 'log'), 'utf8')).toBe('before\ninside\nafter\n');
  });

  test('several with gaps between them, and closed numbers stay closed', async () => {
    const { stdout, stderr } = await run(
      `exec "$@" gaps -- sh -c 'cat <&3; cat <&6; cat <&9; (cat <&4) 2>/dev/null || echo closed' 3<file 6<file 9<file`,
    );

    expect([stdout, stderr]).toEqual(['content\ncontent\ncontent\nclosed\n', '']);
  });

  test.runIf(isLinux)('pipes, with one end or both', async () => {
    const oneEnd = await run(`echo piped | { exec 8<&0; exec "$@" pipe -- sh -c 'cat <&8' </dev/null; }`);
    const bothEnds = await run(
      `: | { exec 8<&0 9>/proc/self/fd/0; "$@" pipe -- sh -c 'echo around >&9; read line <&8; echo "$line"' </dev/null; echo end; }`,
    );
    const lowest = await run(
      `: | { exec 3<&0 4>/proc/self/fd/0; exec "$@" pipe -- sh -c 'echo around >&4; read line <&3; echo "$line"' </dev/null; }`,
    );

    expect([oneEnd.stdout, bothEnds.stdout, lowest.stdout]).toEqual(['piped\n', 'around\nend\n', 'around\n']);
  });

  test.runIf(isLinux)('and no other: the command has open what it has without etcd-locker', async () => {
    const { stdout: without } = await run(`exec ${listFiles} 3<file 6>>log`);
    const { stdout: within } = await run(`exec "$@" same -- ${listFiles} 3<file 6>>log`);
    const numbers = (text: string): string[] => [...text.matchAll(/^\/proc\/\d+\/fd\/(\d+)$/gm)].map(([, fd = '']) => fd);

    expect(numbers(within)).toEqual(numbers(without));
    expect(numbers(within)).toEqual(expect.arrayContaining(['0', '1', '2', '3', '6']));
    expect(within).toMatch(/^\/.*\/file\n\/proc\/\d+\/fd\/3$/m);
  });

  test.runIf(hasMake)('the job server of make', async () => {
    writeFileSync(join(folder, 'Makefile'), 'all:\n\t+@$(LOCKED) $(MAKE) -f inner\n');
    writeFileSync(join(folder, 'inner'), 'all: one two\none two:\n\t@echo $@\n');

    const { code, stdout, stderr } = await run(`make --no-print-directory -j2 LOCKED="$* make --"`);

    expect([code, stderr]).toEqual([0, '']);
    expect(
      stdout
        .split('\n')
        .filter((line) => /^(one|two)$/.test(line))
        .sort(),
    ).toEqual(['one', 'two']);
  });
});
