/** Follows docs/getting-started.md and the first example of the README with the packed package, on the oldest Node that it supports. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { type Block, blocksOf } from '../support/run/markdown.ts';
import { installTool } from '../support/run/npm-tools.ts';
import { callsOf } from '../support/run/shell.ts';
import { root, type Unpacked, unpackPackage } from './unpack.ts';

const run = promisify(execFile);
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
const platform = `${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
const node = (await installTool(`node-${platform}`, '20', 'bin/node')) ?? process.execPath;
const guide = blocksOf('docs/getting-started.md');
let unpacked: Unpacked;
let etcd: EtcdServer;

beforeAll(async () => {
  [unpacked, etcd] = await Promise.all([unpackPackage(['@types/node']), startEtcd()]);
  await writeFile(join(unpacked.folder, 'package.json'), '{ "private": true }');
});

afterAll(async () => {
  await etcd.stop();
  await unpacked.remove();
});

/** Writes a block to a file, with the host of the test. */
async function writeBlock(block: Block | undefined, file: string): Promise<void> {
  if (block === undefined) throw new Error(`Cannot find the block for ${file}`);
  await writeFile(join(unpacked.folder, file), block.code.replaceAll(/'(?:127\.0\.0\.1|10\.0\.0\.[123]):2379'/g, `'${etcd.endpoint}'`));
}

const runCommand = async (args: readonly string[]): Promise<string> =>
  (await runProgram(join(unpacked.path, 'dist', 'cli', 'main.js'), '--hosts', etcd.endpoint, ...args)).join('\n');

async function runProgram(...args: string[]): Promise<string[]> {
  const { stdout, stderr } = await run(node, args, { cwd: unpacked.folder, timeout: 30_000 });
  return (stdout + stderr).trim().split('\n');
}

test('the job waits for itself, and the command shows the holder and the waiter', { timeout: 60_000 }, async () => {
  await writeBlock(
    guide.find(({ language }) => language === 'js'),
    'job.mjs',
  );
  const running = [runProgram('job.mjs'), sleep(500).then(() => runProgram('job.mjs'))];
  const [inspect = [], list = []] = guide.filter(({ language }) => language === 'sh').flatMap(({ code }) => callsOf('etcd-locker', code));
  await vi.waitFor(async () => {
    expect(await runCommand(inspect)).toMatch(/^hello is held[^]*\nholds [^]*\nwaits 1 /);
  }, 15_000);

  expect(await runCommand(list)).toMatch(/\nhello +exclusive +1 +1 /);
  const [one = [], other = []] = await Promise.all(running);
  for (const lines of [one, other]) expect(lines).toEqual(['waiting', expect.stringMatching(/^held, token \d+$/), 'released']);
  expect(one[1]).not.toBe(other[1]);
});

test('the TypeScript program compiles with the tsconfig.json of the page, and runs', { timeout: 60_000 }, async () => {
  const folder = join(unpacked.folder, 'typescript');
  await mkdir(folder, { recursive: true });
  await writeBlock(
    guide.find(({ language }) => language === 'json'),
    'typescript/tsconfig.json',
  );
  await writeBlock(
    guide.find(({ language }) => language === 'ts'),
    'typescript/job.mts',
  );
  await run(process.execPath, [tsc], { cwd: folder });

  expect(await readFile(join(folder, 'job.mjs'), 'utf8')).not.toContain('await using');
  expect(await runProgram('typescript/job.mjs')).toEqual([expect.stringMatching(/^held, token \d+$/)]);
});

test('the CommonJS program runs', async () => {
  await writeBlock(guide.filter(({ language }) => language === 'js').at(-1), 'job.cjs');

  expect(await runProgram('job.cjs')).toEqual([expect.stringMatching(/^held, token \d+$/)]);
});

test('the first example of the README runs', async () => {
  await writeBlock(
    blocksOf('README.md').find(({ language }) => language === 'ts'),
    'example.mjs',
  );
  const names =
    "globalThis.order = { total: 7 };\nglobalThis.save = async (_, { fencingToken }) => console.log('saved', fencingToken > 0n);";
  await writeFile(join(unpacked.folder, 'names.mjs'), names);

  expect(await runProgram('--import', './names.mjs', 'example.mjs')).toEqual(['saved true']);
});
