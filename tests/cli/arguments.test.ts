import { expect, test } from 'vitest';
import { parseCommand } from '../../src/cli/arguments.ts';
import { parseDuration } from '../../src/cli/duration.ts';
import { helpText } from '../../src/cli/help.ts';
import { optionNames, optionTable } from '../../src/cli/option-table.ts';
import { toJson } from '../../src/cli/states.ts';
import { formatCell, formatTable } from '../../src/cli/table.ts';

const parse = (line: string, env: NodeJS.ProcessEnv = {}) => parseCommand(line.split(' ').filter(Boolean), env);

test.each<[text: string, ms: number | undefined]>([
  ['30s', 30_000],
  ['500ms', 500],
  ['1m30s', 90_000],
  ['1.5h', 5_400_000],
  ['0', 0],
  ...['', '5', '5 s', 's', '-5s', '1d', '1e3s', '10S', '5s '].map((text): [string, undefined] => [text, undefined]),
])('parseDuration() reads %j as %s', (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test('parseCommand() passes all words after -- to the command unchanged', () => {
  expect(parse('--ttl 20s a -- b --ttl 5 -- -x')).toMatchObject({
    kind: 'run',
    name: 'a',
    file: 'b',
    args: ['--ttl', '5', '--', '-x'],
    lock: { ttlMs: 20_000 },
  });
});

test.each([
  ['--min-hold 1m30s', { minHoldMs: 90_000 }],
  ['--shared', { mode: 'shared' }],
  ['--slots 3', { slots: 3 }],
])('parseCommand() passes %s to the lock', (options, expected) => {
  expect(parse(`${options} a -- b`)).toMatchObject({ lock: expected });
});

test('parseCommand() takes inspect before -- as the name of a lock', () => {
  expect(parse('inspect -- x')).toMatchObject({ kind: 'run', name: 'inspect' });
  expect(parse('inspect x')).toMatchObject({ kind: 'inspect', name: 'x' });
  expect(parse('list')).toMatchObject({ kind: 'list', name: undefined });
  expect(parse('watch')).toMatchObject({ kind: 'watch', name: undefined });
  expect(parse('break -- x')).toMatchObject({ kind: 'run', name: 'break' });
  expect(parse('break --token 4711 x')).toMatchObject({ kind: 'break', name: 'x', token: 4711n, isSure: false });
});

test.each([
  ['', 1_500 / 2],
  ['--ttl 2s', 250],
  ['--ttl 30s', 1_500],
  ['--ttl 30s --grace 4s', 4_000],
  ['--grace 0', 0],
])('parseCommand() sets the grace time for %j to %s ms', (options, graceMs) => {
  expect(parse(`${options} a -- b`)).toMatchObject({ graceMs });
});

test.each([
  ['', 'NAME: expected'],
  ['a', '"a": expected -- and a command'],
  ['a --', 'COMMAND: expected'],
  ['-- b', 'NAME: expected'],
  ['a b -- c', 'NAME: expected one name'],
  ['inspect', 'NAME: expected the name of a lock after inspect'],
  ['watch a b', 'NAME: expected one name after watch'],
  ['--unknown a -- b', '--unknown: unknown option'],
  ['-x a -- b', '-x: unknown option'],
  ['--try=yes a -- b', '--try: expected no value'],
  ['--ttl', '--ttl: expected DURATION after it'],
  ['--value --try a -- b', '--value: expected TEXT after it'],
  ['--ttl 5 a -- b', '--ttl: expected a duration such as 30s'],
  ['--grace 30d a -- b', '--grace: expected a duration'],
  ['--slots 0 a -- b', '--slots: expected a whole number from 1'],
  ['--slots 1.5 a -- b', '--slots: expected a whole number'],
  ['--try --timeout 1s a -- b', '--try: cannot be used with --timeout'],
  ['--shared --slots 2 a -- b', '--shared: cannot be used with --slots'],
  ['--min-hold 30s --shared a -- b', '--min-hold: cannot be used with --shared'],
  ['--min-hold 30s --slots 2 a -- b', '--min-hold: cannot be used with --slots'],
  ['--min-hold 30 a -- b', '--min-hold: expected a duration such as 30s'],
  ['--max-hold 0 a -- b', '--max-hold: expected more than 0'],
  ['break', 'NAME: expected the name of a lock after break'],
  ['break --token 1x a', '--token: expected a fencing token such as 4711, got "1x"'],
  ['break --token 0 a', '--token: expected a fencing token'],
  ['--yes inspect a', '--yes: cannot be used with `inspect`'],
  ['--check list', '--check: cannot be used with `list`'],
  ['--check --json inspect a', '--check: cannot be used with --json'],
  ['--ttl 5s list', '--ttl: cannot be used with `list`'],
  ['--json a -- b', '--json: cannot be used with `NAME -- COMMAND`'],
  ['--cert x a -- b', '--key: expected a file'],
  ['--key x a -- b', '--cert: expected a file'],
  ['--cacert /nonexistent a -- b', '--cacert: expected a readable file, got "/nonexistent" (ENOENT)'],
  ['--cacert x --cert y a -- b', '--key: expected a file'],
  ['--user me a -- b', '--user: expected a password in ETCDCTL_PASSWORD'],
  ['--password-file x a -- b', '--password-file: expected --user'],
])('parseCommand() rejects %j with: %s', (line, message) => {
  expect(() => parse(line)).toThrow(message);
});

test('parseCommand() rejects a password on the command line and does not print it', () => {
  expect(() => parse('--user me:sesame a -- b')).toThrow(/^--user: expected a user name without a password(?!.*sesame)/);
});

test.each([
  [{ ETCDCTL_USER: 'me:a:b' }, '', { username: 'me', password: 'a:b' }],
  [{ ETCDCTL_USER: 'me', ETCDCTL_PASSWORD: 'c' }, '', { username: 'me', password: 'c' }],
  [{ ETCDCTL_PASSWORD: 'c' }, '--user you', { username: 'you', password: 'c' }],
  [{ ETCDCTL_USER: 'me:a' }, '--user me', { username: 'me', password: 'a' }],
])('parseCommand() reads user and password from %j and %j', (env, options, auth) => {
  expect(parse(`${options} a -- b`, env)).toMatchObject({ locker: { auth } });
});

test('parseCommand() does not use the password of another user', () => {
  expect(() => parse('--user you a -- b', { ETCDCTL_USER: 'me:a' })).toThrow('--user: expected a password');
});

test.each([
  ['--hosts a:1,b:2 --hosts c x -- y', {}, ['a:1', 'b:2', 'c']],
  ['x -- y', { ETCDCTL_ENDPOINTS: 'a:1, b:2' }, ['a:1', 'b:2']],
  ['--hosts c x -- y', { ETCDCTL_ENDPOINTS: 'a:1' }, ['c']],
  ['x -- y', { ETCDCTL_ENDPOINTS: '' }, undefined],
])('parseCommand() reads the hosts from %j and %j', (line, env, hosts) => {
  expect(parse(line, env)).toMatchObject({ locker: { hosts } });
});

test('helpText() lists each option with its value and its variable', () => {
  const lines = helpText().split('\n');

  for (const name of optionNames) {
    const { placeholder, env } = optionTable[name];
    const at = lines.findIndex((line) =>
      new RegExp(`^ {2}(-\\w, )?--${name}${placeholder === undefined ? '' : ` ${placeholder}`}  +\\w`).test(line),
    );
    expect(at, name).toBeGreaterThan(0);
    if (env !== undefined) expect(lines.slice(at, at + 4).join(' ')).toContain(`[${env}]`);
  }
});

test('formatTable() aligns columns, formatCell() escapes control characters and shortens text', () => {
  expect(
    formatTable([
      ['A', 'B'],
      ['long', formatCell('x\u001b[31m\u009b\n\u202e')],
      ['', 'y'],
    ]),
  ).toBe('A     B\nlong  x\\u001b[31m\\u009b\\u000a\\u202e\n      y\n');
  expect(formatCell('é'.repeat(100))).toBe(`${'é'.repeat(59)}…`);
});

const inRange = (first: number, last: number): number[] => Array.from({ length: last - first + 1 }, (_, index) => first + index);

test.each([
  ['C0 controls', inRange(0x00, 0x1f)],
  ['DEL and C1 controls', inRange(0x7f, 0x9f)],
  ['line and paragraph separators', [0x2028, 0x2029]],
  ['direction marks', [0x061c, 0x200e, 0x200f]],
  ['direction embeddings and overrides', inRange(0x202a, 0x202e)],
  ['direction isolates', inRange(0x2066, 0x2069)],
])('the command prints %s as escapes', (_, codes) => {
  for (const code of codes) {
    const escape = `\\u${code.toString(16).padStart(4, '0')}`;
    expect(formatCell(`a${String.fromCharCode(code)}b`)).toBe(`a${escape}b`);
  }
});

test('the command escapes every character that controls the direction of text', () => {
  const all = inRange(0, 0xffff).map((code) => String.fromCharCode(code));
  const controls = all.filter((character) => /\p{Bidi_Control}/u.test(character));

  expect(controls).toHaveLength(12);
  expect(formatCell(controls.slice(0, 6).join('')) + formatCell(controls.slice(6).join(''))).toMatch(/^(\\u[0-9a-f]{4}){12}$/);
  const state = { name: controls.join(''), held: false, holders: [], waiting: 0, revision: 1n, current: true };
  expect(toJson(state)).not.toMatch(/\p{Bidi_Control}/u);
  expect(JSON.parse(toJson(state))).toMatchObject({ name: state.name });
});
