/** Runs the command with arguments and variables that are not UTF-8. A shell makes them, because Node cannot pass such bytes. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findChangedArguments, findChangedVariables } from '../../src/cli/encoding.ts';
import { type CommandStage, type Outcome, openCommandStage, shell } from './command.ts';

/** An é of Latin-1, in a word of `sh`. */
const latin = String.raw`"$(printf 'a\351')"`;

let stage: CommandStage;
let folder: string;
beforeAll(async () => {
  stage = await openCommandStage();
  folder = mkdtempSync(join(tmpdir(), 'bytes-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await stage[Symbol.asyncDispose]();
});

const run = (text: string, env: Readonly<Record<string, string>> = {}): Promise<Outcome> => shell(text, stage.options, env);

const refusal = (message: string): Partial<Outcome> => ({
  code: 64,
  stdout: '',
  stderr: `etcd-locker: ${message} (see etcd-locker --help)\n`,
});

describe('an argument that is not UTF-8', () => {
  test('is refused: the command does not get the name of another file', async () => {
    const other = join(folder, 'a\ufffd');
    writeFileSync(other, 'kept');

    const result = await run(String.raw`cd "$FOLDER"; : >${latin}; exec "$@" remove -- rm ${latin}`, { FOLDER: folder });

    expect(readdirSync(folder, 'buffer').map(String)).toHaveLength(2);
    expect(result).toMatchObject(refusal('Argument 8: expected UTF-8, got other bytes in "a\ufffd"'));
  });

  test.each([
    ['the name of a lock', `${latin} -- echo ran`, 5],
    ['the value of an option', `--value ${latin} x -- echo ran`, 6],
    ['a value after =', `--value=${latin} x -- echo ran`, 5],
    ['the name for inspect', `inspect ${latin}`, 6],
    ['an argument of the command', `x -- echo one two ${latin}`, 10],
    ['a lone surrogate in UTF-8', String.raw`x -- echo "$(printf '\355\240\200')"`, 8],
  ])('is refused with its number: %s', async (_, words, position) => {
    const { code, stdout, stderr } = await run(`exec "$@" ${words}`);

    expect([code, stdout]).toEqual([64, '']);
    expect(stderr).toMatch(new RegExp(`^etcd-locker: Argument ${String(position)}: expected UTF-8, got other bytes in [^\n]+\n$`));
  });

  test('is not refused if it only has the replacement character U+FFFD', async () => {
    expect(await run(`exec "$@" 'b\ufffd' -- echo '\ufffd é 🔒'`)).toMatchObject({ code: 0, stdout: '\ufffd é 🔒\n', stderr: '' });
  });

  test('is found by U+FFFD if the bytes are unknown', () => {
    expect(findChangedArguments(['a', 'b\ufffd', 'c'])).toEqual([1]);
    expect(findChangedArguments([])).toEqual([]);
  });
});

describe('a variable that is not UTF-8', () => {
  test.each([
    ['its value', `OTHER=${latin}; export OTHER; exec "$@"`, '"OTHER"'],
    ['its name', String.raw`exec env "$(printf 'N\351=x')" "$@"`, '"N\ufffd"'],
    ['one that etcd-locker reads', `ETCDCTL_USER=${latin}; export ETCDCTL_USER; exec "$@"`, '"ETCDCTL_USER"'],
  ])('is refused with its name, because the command would get another: %s', async (_, text, name) => {
    expect(await run(`${text} x -- echo ran`)).toMatchObject(
      refusal(`The variable ${name}: expected UTF-8, got other bytes; unset it or change its value`),
    );
  });

  test('is refused by inspect, list and watch if etcd-locker reads it', async () => {
    const message = 'The variable "ETCDCTL_CACERT": expected UTF-8, got other bytes; unset it or change its value';

    expect(await run(`ETCDCTL_CACERT=${latin}; export ETCDCTL_CACERT; exec "$@" list`)).toMatchObject(refusal(message));
    expect((await run(`OTHER=${latin}; export OTHER; exec "$@" list`)).code).toBe(0);
    expect((await run(`ETCDCTL_CACERT=${latin}; export ETCDCTL_CACERT; exec "$@" --help`)).code).toBe(0);
  });

  test('is not refused if it only has the replacement character U+FFFD', async () => {
    expect(await run('exec "$@" x -- printenv OTHER', { OTHER: 'é \ufffd' })).toMatchObject({ code: 0, stdout: 'é \ufffd\n' });
  });

  test('is not found in a clean environment', () => {
    expect(findChangedVariables({})).toEqual(new Set());
  });
});

test('a password file that is not UTF-8 is refused', async () => {
  const result = await run(String.raw`printf 'p\351\n' >"$FILE"; exec "$@" --user me --password-file "$FILE" x -- echo ran`, {
    FILE: join(folder, 'password'),
  });

  expect(result).toMatchObject(refusal('--password-file: expected a file in UTF-8, got other bytes'));
});
