/** Tests that the code of the README compiles and runs, and that its tables match the source. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as surface from '../../src/index.ts';
import { loadSchemas } from '../../src/options/schema.ts';
import { startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
// A folder in the package, so that imports of its name resolve.
const folder = join(root, '.cache', `readme-${String(process.pid)}`);
const prelude = relative(folder, join(root, 'tests', 'support', 'run', 'readme-prelude.ts'));
const readme = await readFile(join(root, 'README.md'), 'utf8');

const blocks = blocksOf(readme);
const programs = blocks
  .filter(({ language }) => language === 'ts' || language === 'js')
  .map((block) => ({ ...block, file: `${String(block.index)}.${block.language === 'ts' ? 'ts' : 'cjs'}` }));
let etcd: EtcdServer;

interface Block {
  readonly heading: string;
  readonly language: string;
  readonly code: string;
  readonly index: number;
}

function blocksOf(markdown: string): Block[] {
  let heading = '';
  return [...markdown.matchAll(/^#+ (.+)$|^```(\w+)\n([^]*?)^```$/gm)].flatMap(([, title, language, code = ''], index) => {
    if (title !== undefined) heading = title;
    return language === undefined ? [] : [{ heading, language, code, index }];
  });
}

beforeAll(async () => {
  etcd = await startEtcd(); // not the shared one: the code of the README uses the default prefix
  await mkdir(folder, { recursive: true });
  for (const { file, code, language } of programs) {
    // The hosts of the README are examples. This puts in the host of the test.
    const runnable = code.replaceAll(/'10\.0\.0\.[123]:2379'/g, `'${etcd.endpoint}'`);
    await writeFile(join(folder, file), language === 'ts' ? `import '${prelude}';\n${runnable}\nexport {};\n` : runnable);
  }
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  const client = new Etcd3({ hosts: [...etcd.endpoints] });
  await client.delete().key('total');
  client.close();
  await etcd.stop();
});

test('the README has code to check', () => {
  expect(programs.length).toBeGreaterThan(12);
});

test('the code compiles', { timeout: 60_000 }, async () => {
  const source = (...path: string[]): string[] => [join(root, 'src', ...path)];
  const paths = {
    'etcd-locker': source('index.ts'),
    'etcd-locker/testing': source('testing', 'index.ts'),
    'etcd-locker/web-locks': source('web-locks', 'index.ts'),
  };
  const compilerOptions = { paths, noUnusedLocals: false };
  const config = { extends: join(root, 'tsconfig.json'), compilerOptions, include: ['*.ts'], exclude: [] };
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config));
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { stdout } = await run(process.execPath, [tsc, '-p', folder]).catch((error: unknown) => error as { stdout: string });

  expect(stdout).toBe('');
});

describe('the code runs and ends', () => {
  test.each(programs)('$heading ($file)', async ({ file }) => {
    const env = { ...process.env, ETCD_ENDPOINTS: etcd.endpoints.join(',') };
    const { stderr } = await run(process.execPath, [join(folder, file)], { cwd: root, env, timeout: 15_000 });

    expect(stderr).toBe('');
  });
});

test('the commands are scripts of package.json', async () => {
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
  const [first] = blocks.filter(({ language }) => language === 'sh');

  expect(first?.code).toBe('npm ci && npm run demo\nnpm ci && npm test\n');
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(['demo', 'test']));
});

/** Returns one column of the tables under a heading, by default the first. */
function namesIn(heading: string, column = 1): string[] {
  const section = new RegExp(`^## ${heading}\n([^]*?)(?=^## )`, 'm').exec(readme)?.[1] ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|')[column]?.trim().replaceAll('`', '') ?? '');
}

test('the tables name each option', () => {
  const { locker, lock } = loadSchemas();

  expect(namesIn('Options')).toEqual([...Object.keys(locker.shape), ...Object.keys(lock.shape)]);
});

const isErrorClass = (value: unknown): boolean => typeof value === 'function' && value.prototype instanceof surface.LockerError;

test('the table names each error', () => {
  // The two errors that a Store throws to a locker reach no caller.
  const classes = Object.entries(surface).flatMap(([name, value]) => (isErrorClass(value) ? [name] : []));

  expect(namesIn('Errors').sort()).toEqual(classes.sort());
  for (const code of namesIn('Errors', 2)) expect(code).toMatch(/^[A-Z_]+$/);
});
