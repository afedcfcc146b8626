/** Describes the machine and the versions on which the figures depend, without names or paths of the machine. */
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { readFile, statfs } from 'node:fs/promises';
import { cpus, release, tmpdir, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { findEtcd } from '../support/etcd/etcd.ts';
import { root } from './paths.ts';
import type { Go } from './rivals/go.ts';
import { number } from './tables.ts';
import { median } from './statistics.ts';

/** Returns the name and the value of each line. */
export async function describeMachine(go: Go): Promise<[string, string][]> {
  const cores = cpus();
  return [
    ['cores', `${cores.length}, ${cores[0]?.model.trim() ?? 'of unknown kind'}, shared by etcd and its clients`],
    ['memory', `${Math.round(totalmem() / 2 ** 30)} GiB`],
    ['kernel', `${type()} ${release()}`],
    ['disk', await describeDisk()],
    ['etcd', `${(await findEtcd()).version}, fsync on, connected over loopback`],
    ['Node', process.versions.node],
    ['etcd-locker', await versionIn('package.json')],
    ['etcd3', await versionIn('node_modules/etcd3/package.json')],
    ['@grpc/grpc-js', await versionIn('node_modules/@grpc/grpc-js/package.json')],
    ['Go', go.program === null ? 'left out' : `${go.version}, clientv3 ${go.client}`],
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
  return (JSON.parse(await readFile(join(root, file), 'utf8')) as { version: string }).version;
}
