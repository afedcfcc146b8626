/**
 * Tests that the code of the README and of docs/*.md compiles and runs.
 *
 * The tag of a fence says what is checked:
 * - `ts` and `js` compile, and run on a real etcd. `ts check` and `js check` only compile
 * - `ts from examples/x.ts` has lines of that file or folder
 * - `json` parses
 * - `sh` calls `etcd-locker` with arguments that it takes, and npm scripts that exist
 *
 * Names such as `locker` and `order` come from the prelude.
 */
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCommand } from '../../src/cli/arguments.ts';
import { canControlServers, startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { type Block, blocksOf, pages } from '../support/run/markdown.ts';
import { callsOf } from '../support/run/shell.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
// A folder in the package, so that imports of its name resolve.
const folder = join(root, '.cache', `blocks-${String(process.pid)}`);
const prelude = relative(folder, join(root, 'tests', 'support', 'run', 'readme-prelude.ts'));

const blocks = pages.flatMap((page) => blocksOf(page));
const isCommonJs = ({ code }: Block): boolean => /\brequire\(/.test(code);
const programs = blocks
  .filter(({ language, mode }) => (language === 'ts' || language === 'js') && !mode.startsWith('from '))
  .map((block) => {
    const ending = block.language === 'ts' ? 'ts' : isCommonJs(block) ? 'cjs' : 'mjs';
    return { ...block, title: titleOf(block), file: `${block.page.replaceAll(/\W/g, '-')}-${String(block.line)}.${ending}` };
  });
type Program = (typeof programs)[number];
const runnable = programs.filter(({ mode }) => mode !== 'check');
const excerpts = blocks.filter(({ mode }) => mode.startsWith('from '));

function titleOf({ page, line, heading }: Block): string {
  return `${page}:${String(line)} ${heading}`;
}

/** A server runs one block at a time, because blocks use the same names under the default prefix. */
const serverCount = (await canControlServers()) ? 3 : 1;
const servers: EtcdServer[] = [];
const waiting: (() => void)[] = [];
const results = new Map<string, Promise<string>>();

beforeAll(async () => {
  await mkdir(folder, { recursive: true });
  for (const program of programs) await writeFile(join(folder, program.file), sourceOf(program));
  servers.push(...(await Promise.all(Array.from({ length: serverCount }, () => startEtcd()))));
  const free = [...servers];
  for (const program of runnable) {
    const result = onFreeServer(free, (etcd) => runProgram(program, etcd));
    result.catch(() => undefined); // its test awaits it later
    results.set(program.file, result);
  }
});

async function onFreeServer<T>(free: EtcdServer[], work: (etcd: EtcdServer) => Promise<T>): Promise<T> {
  while (free.length === 0) await new Promise<void>((resolve) => waiting.push(resolve));
  const etcd = free.pop() as EtcdServer;
  try {
    return await work(etcd);
  } finally {
    free.push(etcd);
    waiting.shift()?.();
  }
}

afterAll(async () => {
  await Promise.allSettled(results.values());
  await rm(folder, { recursive: true, force: true });
  await Promise.all(servers.map((etcd) => etcd.stop()));
});

/** The prelude is on the first line, so that the lines of the compiler's messages are those of the block. */
function sourceOf({ code, language, file }: Program): string {
  if (language === 'ts') return `import '${prelude}'; ${code}\nexport {};\n`;
  return file.endsWith('.mjs') ? `import '${prelude}'; ${code}` : code;
}

/** Runs a block, and returns what it wrote to stderr. */
async function runProgram(program: Program, etcd: EtcdServer): Promise<string> {
  // The hosts of the pages are examples. This puts in the host of the test.
  const copy = join(folder, `run-${program.file}`);
  await writeFile(copy, sourceOf({ ...program, code: withHost(program.code, etcd.endpoint) }));
  const env = { ...process.env, ETCD_ENDPOINTS: etcd.endpoints.join(',') };
  try {
    const { stderr } = await run(process.execPath, ['--disable-warning=ExperimentalWarning', copy], { cwd: root, env, timeout: 20_000 });
    return stderr;
  } finally {
    await clear(etcd);
  }
}

const withHost = (code: string, endpoint: string): string =>
  code
    .replaceAll(/'(?:10\.0\.0\.[123]|127\.0\.0\.1|localhost):2379'/g, `'${endpoint}'`)
    .replaceAll('createLocker()', `createLocker({ hosts: '${endpoint}' })`);

/** Deletes what a block left behind, because the next block may use the same names. */
async function clear(etcd: EtcdServer): Promise<void> {
  const client = new Etcd3({ hosts: [...etcd.endpoints] });
  if (etcd.members.length > 0) await client.delete().all();
  else await client.delete().key('total');
  client.close();
}

test('the pages have code to check', () => {
  expect(runnable.filter(({ page }) => page === 'README.md').length).toBeGreaterThan(1);
  expect(programs.length).toBeGreaterThan(12);
});

test('the code compiles', { timeout: 150_000, retry: 0 }, async () => {
  // The paths of the package come from tsconfig.json.
  const compilerOptions = { noUnusedLocals: false, noUnusedParameters: false, allowJs: true, checkJs: true };
  const include = programs.map(({ file }) => file);
  const config = { extends: join(root, 'tsconfig.json'), compilerOptions, include, exclude: [] };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config));
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { stdout } = await run(process.execPath, [tsc, '-p', folder]).catch((error: unknown) => error as { stdout: string });
  // A parameter without a type is an error in TypeScript only.
  const lines = stdout.split('\n').filter((line) => line !== '' && !/\.[cm]js\(\d+,\d+\): error TS70(06|31)/.test(line));

  expect(lines.map(toPageLine)).toEqual([]);
});

/** Replaces the file and line of a message by those of the page. */
function toPageLine(message: string): string {
  const [, file, line, rest] = /([\w-]+\.\w+)\((\d+),\d+\)(.*)$/.exec(message) ?? [];
  const program = programs.find((one) => one.file === file);
  return program === undefined ? message : `${program.page}:${String(program.line + Number(line))}${rest ?? ''}`;
}

describe('the code runs and ends', () => {
  test.each(runnable)('$title', { timeout: 120_000 }, async (program) => {
    const { file } = program;
    const stderr = await (results.get(file) ?? runProgram(program, servers[0] as EtcdServer)).finally(() => results.delete(file));

    expect(stderr).toBe('');
  });
});

test('the excerpts have lines of the files that they name', async () => {
  const missing: string[] = [];
  for (const block of excerpts) {
    const path = join(root, block.mode.slice('from '.length));
    const files = (await stat(path)).isDirectory() ? (await readdir(path)).map((file) => join(path, file)) : [path];
    const texts = await Promise.all(files.filter((file) => /\.[cm]?[jt]s$/.test(file)).map((file) => readFile(file, 'utf8')));
    const lines = new Set(texts.flatMap((text) => text.split('\n')));
    missing.push(...block.code.split('\n').flatMap((line) => (lines.has(line) ? [] : [`${titleOf(block)}: ${line}`])));
  }

  expect(missing).toEqual([]);
});

test('the JSON parses', () => {
  const wrong = blocks.filter(({ language, code }) => language === 'json' && !isJson(code));

  expect(wrong.map(titleOf)).toEqual([]);
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test('each call of etcd-locker in a script is one that the command takes', () => {
  const calls = blocks
    .filter(({ language }) => language === 'sh')
    .flatMap((block) => callsOf('etcd-locker', block.code).map((args) => ({ block, args })));
  const wrong = calls.flatMap(({ block, args }) => {
    try {
      parseCommand(withFiles(args), { ETCDCTL_PASSWORD: 'secret' });
      return [];
    } catch (error) {
      return [`${titleOf(block)}: etcd-locker ${args.join(' ')}: ${String(error)}`];
    }
  });

  expect(wrong).toEqual([]);
  expect(calls.length).toBeGreaterThan(1);
});

/** The files of the pages are examples. This puts in a file that exists. */
const withFiles = (args: readonly string[]): string[] =>
  args.map((arg, index) => (/^--(cacert|cert|key|password-file)$/.test(args[index - 1] ?? '') ? fileURLToPath(import.meta.url) : arg));

test('each npm script in a script exists', async () => {
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
  const named = blocks
    .filter(({ language }) => language === 'sh')
    .flatMap((block) => callsOf('npm', block.code).map(([command, name]) => ({ block, name: command === 'run' ? name : command })))
    .filter(
      ({ name }) => name !== undefined && !['ci', 'i', 'install', 'init', 'pack', 'pkg', 'publish', 'view', 'version'].includes(name),
    );

  expect(named.filter(({ name = '' }) => !(name in scripts)).map(({ block, name }) => `${titleOf(block)}: ${String(name)}`)).toEqual([]);
  expect(named.length).toBeGreaterThan(1);
});

test('the README shows how to run the demo and the tests', () => {
  const [first] = blocks.filter(({ page, language }) => page === 'README.md' && language === 'sh');

  expect(first?.code).toBe('npm ci && npm run demo\nnpm ci && npm test\n');
});
