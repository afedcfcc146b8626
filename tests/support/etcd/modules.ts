/**
 * Builds a released version of etcd from its Go modules, for versions that Debian does not have.
 *
 * `go install` refuses the main package of a module with replace directives. A module of our own that requires etcd ignores them.
 * Go checks each module against its checksum database.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runGo } from '../run/go.ts';
import { inspectBinary, type EtcdBinary } from './binary.ts';
import { lockCache } from './cache-lock.ts';

/** The oldest line whose server is a module that another module can require. */
const oldestLine = '3.5';

const programs = ['server', 'etcdctl', 'etcdutl'] as const;

export interface ModulesOptions {
  readonly cacheDir: string;
  readonly path: string | undefined;
  /** Three numbers, for example '3.7.3'. */
  readonly version: string;
}

/**
 * Returns etcd `version` from the cache. If it is not there, builds etcd, etcdctl and etcdutl into `cacheDir/version`, in about a
 * minute on two cores.
 *
 * The search for an etcd ignores these builds, so that the tests keep their default version. ETCD_BINARY selects one.
 *
 * @throws {Error} if there is no `go` on PATH, or if the build fails
 */
export async function etcdFromModules({ cacheDir, path, version }: ModulesOptions): Promise<EtcdBinary> {
  const target = join(cacheDir, version);
  const etcd = join(target, 'etcd');
  const release = await lockCache(cacheDir);
  try {
    if (!existsSync(etcd)) await build({ cacheDir, path, version }, target);
    return await inspectBinary(etcd, path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot build etcd ${version} from Go modules (${oldestLine} or newer): ${reason}`, { cause: error });
  } finally {
    await release();
  }
}

async function build({ cacheDir, path, version }: ModulesOptions, target: string): Promise<void> {
  console.error(`Building etcd ${version} from Go modules into the cache`);
  const packages = programs.map((program) => `go.etcd.io/etcd/${program}/v3`);
  // In the same folder as its target, for an atomic rename. The search ignores a folder with a dot.
  const folder = await mkdtemp(join(cacheDir, `.${version}-`));
  try {
    await writeFile(join(folder, 'go.mod'), 'module etcd-locker/etcd\n');
    const options = { cwd: folder, path, canChangeModules: true };
    await runGo(['get', ...packages.map((name) => `${name}@v${version}`)], options);
    await runGo(['build', '-trimpath', '-ldflags=-s -w', '-o', folder, ...packages], options);
    await rename(join(folder, 'server'), join(folder, 'etcd'));
    await inspectBinary(join(folder, 'etcd'), path); // throws before the rename if the binary does not run
    await rename(folder, target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
