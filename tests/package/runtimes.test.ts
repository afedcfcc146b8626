/** The packed package on each runtime that it supports. npm installs the runtimes once; one that it cannot install is left out. */
import { execFile } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { findRuntimes, type Runtime } from './runtimes.ts';
import { type Unpacked, unpackPackage } from './unpack.ts';

const run = promisify(execFile);
const runtimes = await findRuntimes();
let unpacked: Unpacked;

beforeAll(async () => {
  unpacked = await unpackPackage();
  // Deno resolves the names of packages by this file.
  await writeFile(join(unpacked.folder, 'package.json'), JSON.stringify({ dependencies: { 'etcd-locker': '*' } }));
});

afterAll(() => unpacked.remove());

/** Runs a program of the folder. The time limit shows that nothing keeps the process alive. */
async function consume({ file, flags }: Runtime, program: string, ...args: string[]): Promise<string> {
  const env = {
    ...process.env,
    ...{ DENO_DIR: join(unpacked.folder, 'deno'), DENO_NO_UPDATE_CHECK: '1', NO_COLOR: '1' },
    ETCD_TARGET: `${inject('etcdEndpoints').join(',')} runtimes-${crypto.randomUUID()}/`,
  };
  const { stdout } = await run(file, [...flags, program, ...args], { cwd: unpacked.folder, env, timeout: 15_000 });
  return stdout;
}

describe.each(runtimes)('on $title', (runtime) => {
  test('locks, renews, waits, watches and releases on etcd, and the process ends', async () => {
    expect(await consume(runtime, 'etcd.mjs')).toBe('ok\n');
  });

  test('works in an ES module', async () => {
    expect(await consume(runtime, 'esm.mjs')).toBe('ok\n');
  });

  test('works in a CommonJS program', async () => {
    expect(await consume(runtime, 'commonjs.cjs')).toBe('ok\n');
  });
});

// The other runtimes do not list the modules that they have loaded, and npm starts the command with Node.
describe.each(runtimes.filter(({ kind }) => kind === 'node'))('on $title alone', (runtime) => {
  test.each(['import', 'require'])('loads etcd3 only at the first use of etcd, by %s', async (how) => {
    expect(await consume(runtime, 'lazy.cjs', how)).toBe('ok\n');
  });

  test('the command runs through a link like that of npm', async () => {
    const { version } = JSON.parse(await readFile(join(unpacked.path, 'package.json'), 'utf8')) as { version: string };
    const bin = join(unpacked.folder, 'node_modules', '.bin');
    await mkdir(bin, { recursive: true });
    await symlink('../etcd-locker/dist/cli/main.js', join(bin, 'etcd-locker')).catch(() => undefined); // the test on another Node has created it
    // The file is executed itself, so its first line must find this Node on PATH.
    const env = { PATH: [dirname(runtime.file), process.env['PATH']].join(delimiter) };
    const { stdout } = await run(join(bin, 'etcd-locker'), ['--version'], { cwd: unpacked.folder, env });

    expect(stdout).toBe(`${version}\n`);
    // The library checks this option, so the command contains it.
    await expect(run(join(bin, 'etcd-locker'), ['--ttl', '1s', 'x', '--', 'true'], { cwd: unpacked.folder, env })).rejects.toMatchObject({
      code: 64,
      stderr: expect.stringContaining('--ttl: expected at least 2000 ms') as string,
    });
  });
});
