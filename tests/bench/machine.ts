/** Describes the machine and the versions on which the figures depend, without names or paths of the machine. */
import { execFile } from 'node:child_process';
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { readFile, statfs } from 'node:fs/promises';
import { cpus, release, tmpdir, totalmem, type } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { EtcdSource } from '../support/etcd/etcd.ts';
import { root } from './paths.ts';
import type { Go } from './rivals/go.ts';
import { number } from './tables.ts';
import { median } from './statistics.ts';

const run = promisify(execFile);

/** Returns the name and the value of each line. */
export async function describeMachine(servers: readonly EtcdSource[], go: Go, before: string | null): Promise<[string, string][]> {
  const cores = cpus();
  return [
    ['cores', `${cores.length}, ${cores[0]?.model.trim() ?? 'of unknown kind'}, shared by etcd and its clients`],
    ['memory', `${Math.round(totalmem() / 2 ** 30)} GiB`],
    ['kernel', `${type()} ${release()}`],
    ['disk', await describeDisk()],
    ['etcd', `${servers.map(({ version }) => version).join(', ')}; fsync on, connected over loopback`],
    ['Node', process.versions.node],
    ['etcd-locker', await versionIn('package.json')],
    ['etcd3', await versionIn('node_modules/etcd3/package.json')],
    ['@grpc/grpc-js', await versionIn('node_modules/@grpc/grpc-js/package.json')],
    ['Go', go.programs === null ? 'left out' : `${go.version}, clientv3 ${go.clients}`],
    ...(before === null ? [] : [['the tree before', await commitOf(before)] satisfies [string, string]]),
  ];
}

const tmpfs = 0x01021994;

/** Measures the disk of the temporary folder, which has the data of etcd. */
async function describeDisk(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const file = openSync(join(folder, 'probe'), 'w');
  const page = Buffer.alloc(4_096);
  const times: number[] = [];
  for (let time = 0; time < 100; time += 1) {
    const startedAt = performance.now();
    writeSync(file, page);
    fsyncSync(file);
    times.push(performance.now() - startedAt);
  }
  closeSync(file);
  const isMemory = (await statfs(folder)).type === tmpfs;
  rmSync(folder, { recursive: true });
  return `${number(median(times))} ms for a write of 4 KiB with fsync${isMemory ? ', in memory (tmpfs)' : ''}`;
}

async function versionIn(file: string): Promise<string> {
  return (JSON.parse(await readFile(resolve(root, file), 'utf8')) as { version: string }).version;
}

/** Returns the commit of a checkout, or its version. */
async function commitOf(folder: string): Promise<string> {
  try {
    const { stdout } = await run('git', ['rev-parse', '--short', 'HEAD'], { cwd: folder });
    return `commit ${stdout.trim()}`;
  } catch {
    return `version ${await versionIn(join(folder, 'package.json'))}`;
  }
}
