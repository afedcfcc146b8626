/** Finds etcd executables on this machine, and reads their version and their flags. */
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The oldest version that the locker supports. Its HTTP gateway is at /v3. */
const oldest = '3.4';

export interface EtcdBinary {
  readonly etcd: string;
  /** In the folder of the server or on PATH. null if there is none. */
  readonly etcdctl: string | null;
  readonly version: string;
}

/**
 * Runs an etcd executable to read its version, and finds its etcdctl.
 *
 * @throws {Error} if `etcd` does not run or is too old
 */
export async function inspectBinary(etcd: string, path: string | undefined): Promise<EtcdBinary> {
  let output: string;
  try {
    ({ stdout: output } = await run(etcd, ['--version'], { timeout: 10_000, env: {} }));
  } catch (error) {
    throw new Error(`${etcd} does not run: ${firstLine(error)}`, { cause: error });
  }
  const version = /etcd Version: (\S+)/.exec(output)?.[1];
  if (version === undefined) throw new Error(`${etcd} does not print its version`);
  if (compareVersions(version, oldest) < 0) throw new Error(`${etcd} is ${version}, older than ${oldest}`);
  const beside = join(dirname(etcd), 'etcdctl');
  const etcdctl = (await isExecutable(beside)) ? beside : await onPath('etcdctl', path);
  return { etcd, etcdctl, version };
}

const noFsync = new Map<string, Promise<boolean>>();

/** Tries `--unsafe-no-fsync`, because 3.4 accepts it but does not list it in its help. */
export function supportsNoFsync(etcd: string): Promise<boolean> {
  let isSupported = noFsync.get(etcd);
  if (isSupported === undefined) {
    isSupported = run(etcd, ['--unsafe-no-fsync', '--version'], { timeout: 10_000, env: {} }).then(
      () => true,
      () => false,
    );
    noFsync.set(etcd, isSupported);
  }
  return isSupported;
}

/** Returns the path of a command on PATH, or null. */
export async function onPath(command: string, path: string | undefined): Promise<string | null> {
  for (const folder of (path ?? '').split(delimiter)) {
    const candidate = join(folder, command);
    if (folder !== '' && (await isExecutable(candidate))) return candidate;
  }
  return null;
}

/** Compares the three numbers of two versions. A pre-release equals its release. */
export function compareVersions(left: string, right: string): number {
  const numbers = (version: string): number[] => version.split(/[.-]/).slice(0, 3).map(Number);
  const [a, b] = [numbers(left), numbers(right)];
  for (let index = 0; index < 3; index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

export function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? '';
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
