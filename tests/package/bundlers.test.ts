/** The packed package in bundles of esbuild and in a deployment that @vercel/nft traces. Each result runs on a real etcd. */
import { nodeFileTrace } from '@vercel/nft';
import { build } from 'esbuild';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type Unpacked, unpackPackage } from './unpack.ts';

const run = promisify(execFile);
const clients = ['etcd3', '@grpc/grpc-js'];
let unpacked: Unpacked;

beforeAll(async () => {
  unpacked = await unpackPackage();
});

afterAll(() => unpacked.remove());

/** Runs a program that uses etcd, and returns its output. */
async function useEtcd(file: string, cwd: string): Promise<string> {
  const ETCD_TARGET = `${inject('etcdEndpoints').join(',')} bundlers-${crypto.randomUUID()}/`;
  const { stdout, stderr } = await run(process.execPath, [file], { cwd, env: { ...process.env, ETCD_TARGET } });
  return stdout + stderr;
}

async function bundle(format: 'esm' | 'cjs', external: readonly string[]): Promise<string> {
  const outfile = join(unpacked.folder, `${format}-${String(external.length)}.${format === 'esm' ? 'mjs' : 'cjs'}`);
  const { warnings } = await build({
    ...{ entryPoints: [join(unpacked.folder, 'etcd.mjs')], outfile, bundle: true, platform: 'node', format },
    ...{ external: [...external], logLevel: 'silent' },
  });
  expect(warnings.map(({ text }) => text)).toEqual([]);
  return outfile;
}

describe('esbuild', () => {
  test.each(['esm', 'cjs'] as const)('makes an %s bundle that works with etcd-locker outside of it', async (format) => {
    expect(await useEtcd(await bundle(format, ['etcd-locker']), unpacked.folder)).toBe('ok\n');
  });

  test.each(['esm', 'cjs'] as const)('makes an %s bundle that works with only the clients of etcd outside of it', async (format) => {
    expect(await useEtcd(await bundle(format, clients), unpacked.folder)).toBe('ok\n');
  });
});

describe('@vercel/nft', () => {
  test.each(['etcd.mjs', 'etcd.cjs'])('finds all files that %s needs', async (program) => {
    // The same program by require().
    await build({
      ...{ entryPoints: [join(unpacked.folder, 'etcd.mjs')], outfile: join(unpacked.folder, 'etcd.cjs') },
      ...{ platform: 'node', format: 'cjs', bundle: true, packages: 'external' },
    });
    const base = await realpath(unpacked.folder);
    const { fileList, warnings } = await nodeFileTrace([join(base, program)], { base });
    const deployed = await mkdtemp(join(tmpdir(), 'deployed-'));
    try {
      for (const file of fileList) {
        await mkdir(dirname(join(deployed, file)), { recursive: true });
        await cp(join(base, file), join(deployed, file));
      }

      expect([...warnings].map(({ message }) => message).filter((message) => message.includes('etcd-locker'))).toEqual([]);
      expect(await useEtcd(program, deployed)).toBe('ok\n');
    } finally {
      await rm(deployed, { recursive: true, force: true });
    }
  });
});
