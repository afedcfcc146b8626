/** The packed package in tests of users: the code of docs/testing-your-code.md in real vitest, jest and node:test, and fake timers. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { transform } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findEtcd } from '../support/etcd/etcd.ts';
import { root, type Unpacked, unpackPackage } from './unpack.ts';

const run = promisify(execFile);
const page = await readFile(join(root, 'docs', 'testing-your-code.md'), 'utf8');
/** The code blocks of the page whose first line names their file. */
const blocks = new Map(
  [...page.matchAll(/^```\w+ check\n(\/\/ (\S+)\n[^]*?)^```$/gm)].map(([, code = '', file = '']) => [file, code] as const),
);
const source = await findEtcd();
let unpacked: Unpacked;

beforeAll(async () => {
  unpacked = await unpackPackage();
  const { folder } = unpacked;
  await symlink(join(root, 'node_modules', 'vitest'), join(folder, 'node_modules', 'vitest'));
  // The runner of this repository would take a file of that name for one of its own.
  await rename(join(folder, 'runners', 'late.vitest.ts'), join(folder, 'runners', 'late.vitest.test.ts'));
  for (const [file, code] of blocks) {
    if (!file.includes('.jest.')) await writeFile(join(folder, 'runners', file), code);
  }
  for (const format of ['cjs', 'esm'] as const) {
    const path = join(folder, 'runners', format);
    await mkdir(path);
    await writeFile(join(path, 'package.json'), JSON.stringify({ type: format === 'cjs' ? 'commonjs' : 'module' }));
    const { code } = await transform(blocks.get('nightly.jest.test.js') ?? '', { format, target: 'node20' });
    await writeFile(join(path, 'nightly.jest.test.js'), code);
  }
});

afterAll(() => unpacked.remove());

/** Runs a test runner in the folder of the tests. Rejects with its output if it fails. */
async function runTests(program: string, args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const cwd = join(unpacked.folder, 'runners');
  // Without the variables of the runner that runs this file.
  const own = Object.entries(process.env).filter(([name]) => !/^(VITEST|NODE_ENV|NODE_TEST)/.test(name));
  const options = { cwd, env: { ...Object.fromEntries(own), NO_COLOR: '1', ...env }, timeout: 60_000 };
  try {
    const { stdout, stderr } = await run(process.execPath, [...(program === '' ? [] : [program]), ...args], options);
    return stdout + stderr;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`The tests failed:\n${stdout}\n${stderr}`, { cause: error });
  }
}

const vitest = (...files: string[]): Promise<string> =>
  runTests(
    join(root, 'node_modules', 'vitest', 'vitest.mjs'),
    ['run', '--root', '.', '--reporter=verbose', ...files],
    source.kind === 'binary' ? { ETCD_BINARY: source.etcd } : {},
  );

const jest = (nodeOptions: string, file: string): Promise<string> => {
  const config = JSON.stringify({ rootDir: '.', testMatch: ['**/*.jest.test.*'], transform: {} });
  const args = ['--config', config, '--no-cache', '--verbose', '--runInBand', '--runTestsByPath', file];
  return runTests(join(root, 'node_modules', 'jest', 'bin', 'jest.js'), args, { NODE_OPTIONS: nodeOptions });
};

const countTests = (file: string): number => blocks.get(file)?.match(/^test\(/gm)?.length ?? 0;

test('the page has tests for each runner', () => {
  expect([...blocks.keys()]).toEqual([
    'closing.vitest.test.ts',
    'nightly.jest.test.js',
    'import.node.test.mjs',
    'counting-store.vitest.test.ts',
    'container.vitest.test.ts',
    'binary.vitest.test.ts',
  ]);
});

test('the tests of the page pass in vitest, and so does the store contract', { timeout: 60_000 }, async () => {
  const output = await vitest('closing.vitest', 'counting-store.vitest', ...(source.kind === 'binary' ? ['binary.vitest'] : []));

  const contractTests = 23;
  const own = countTests('closing.vitest.test.ts') + countTests('counting-store.vitest.test.ts') + (source.kind === 'binary' ? 1 : 0);
  expect(output).toMatch(new RegExp(`Tests +${String(contractTests + own)} passed`));
});

test.each([
  ['CommonJS', '', 'cjs'],
  ['ES modules', '--experimental-vm-modules --no-warnings', 'esm'],
])('the tests of the page pass in jest with %s', { timeout: 60_000 }, async (_, nodeOptions, format) => {
  const output = await jest(nodeOptions, `${format}/nightly.jest.test.js`);

  expect(output).toContain(`Tests:       ${String(countTests('nightly.jest.test.js'))} passed`);
});

test('the tests of the page pass in node:test', async () => {
  const output = await runTests('', ['--test', '--test-reporter=tap', 'import.node.test.mjs']);

  expect(output).toContain(`# pass ${String(countTests('import.node.test.mjs'))}\n`);
});

test('fake timers of vitest move locks, also if the package is loaded after they are installed', async () => {
  expect(await vitest('late.vitest')).toMatch(/Tests +2 passed/);
});

test('fake timers of jest move locks, also if the package is loaded after they are installed', async () => {
  expect(await jest('', 'late.jest.test.cjs')).toContain('Tests:       1 passed');
});

test('mocked timers of node:test move locks, also if the package is loaded after they are installed', async () => {
  expect(await runTests('', ['--test', '--test-reporter=tap', 'late.node.test.mjs'])).toContain('# pass 4\n');
});
