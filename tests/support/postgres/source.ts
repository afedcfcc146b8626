/**
 * Finds PostgreSQL for tests: on this machine, in the cache of the project, or through apt.
 *
 * apt downloads the packages of the system's own release into the cache, and installs nothing. It checks their signatures.
 */
import { execFile } from 'node:child_process';
import { cpSync, existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { firstLine } from '../etcd/binary.ts';
import { lockCache } from '../etcd/cache-lock.ts';
import { rememberFolder } from '../run/leftovers.ts';

const run = promisify(execFile);
const cacheDir = fileURLToPath(new URL('../../../.cache/postgres', import.meta.url));
const unpacked = join(cacheDir, 'apt');

/** PostgreSQL refuses to run as root. As root, its processes run as the user `nobody`, which each Debian has. */
export const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};

export interface Postgres {
  /** The folder of `initdb` and `postgres`. */
  readonly bin: string;
  readonly env: NodeJS.ProcessEnv;
}

/** @throws {Error} that lists each place with the reason why it has no PostgreSQL */
export async function findPostgres(): Promise<Postgres> {
  const reasons: string[] = [];
  for (const find of process.env['POSTGRES_SOURCE'] === 'apt' ? [fromApt] : [fromSystem, fromApt]) {
    try {
      return await find();
    } catch (error) {
      reasons.push(`${find.name}: ${firstLine(error)}`);
    }
  }
  throw new Error(`Cannot find PostgreSQL: ${reasons.join('; ')}. Install it with "apt-get install postgresql"`);
}

const fromSystem = (): Promise<Postgres> => inspect('/usr/lib/postgresql', {});

async function fromApt(): Promise<Postgres> {
  const release = await lockCache(cacheDir);
  try {
    if (!existsSync(unpacked)) await fetchPackages();
  } finally {
    await release();
  }
  try {
    return await inspectUnpacked(unpacked);
  } catch {
    // The user `nobody` may not read the folder of the project. It may read a copy.
    const copy = await mkdtemp(join(tmpdir(), 'postgres-'));
    rememberFolder(copy);
    await chmod(copy, 0o755);
    cpSync(unpacked, copy, { recursive: true, verbatimSymlinks: true });
    return inspectUnpacked(copy);
  }
}

async function inspectUnpacked(folder: string): Promise<Postgres> {
  const libraries = (await readdir(join(folder, 'usr/lib'))).filter((name) => name.includes('-linux-'));
  const paths = [...libraries.map((name) => join(folder, 'usr/lib', name)), ...libraries.map((name) => join(folder, 'lib', name))];
  return inspect(join(folder, 'usr/lib/postgresql'), { LD_LIBRARY_PATH: paths.join(':') });
}

/** Returns the newest version in a folder of versions, if it runs. */
async function inspect(folder: string, env: NodeJS.ProcessEnv): Promise<Postgres> {
  const [newest] = (await readdir(folder)).sort((a, b) => Number(b) - Number(a));
  if (newest === undefined) throw new Error(`${folder} is empty`);
  const found = { bin: join(folder, newest, 'bin'), env: { ...process.env, ...env, TZ: 'UTC', LC_ALL: 'C' } };
  await run(join(found.bin, 'postgres'), ['--version'], { env: found.env, ...user, cwd: '/' });
  return found;
}

/** JIT compilation and Perl scripts are parts of the packages that a test server does not use. */
const needed = /^(postgresql-\d+|lib(?!llvm|z3|perl|json-perl|gdbm|common-sense|types-serialiser).+)$/;

async function fetchPackages(): Promise<void> {
  console.error('Fetching PostgreSQL through apt into the cache');
  const work = await mkdtemp(join(tmpdir(), 'postgres-apt-'));
  const made = await mkdtemp(join(cacheDir, '.new-'));
  try {
    await chmod(work, 0o755); // apt downloads as its own user
    await download(work, []).catch(async () => {
      // The package lists of the system are empty or old: this uses new ones in a folder of its own.
      await Promise.all(['lists/partial', 'cache/archives/partial'].map((folder) => mkdir(join(work, folder), { recursive: true })));
      const options = ['-o', `Dir::State::Lists=${join(work, 'lists')}`, '-o', `Dir::Cache=${join(work, 'cache')}`];
      await apt([...options, '-o', 'Acquire::Languages=none', 'update']);
      await download(work, options);
    });
    for (const file of (await readdir(work)).filter((name) => name.endsWith('.deb'))) await run('dpkg-deb', ['-x', join(work, file), made]);
    await chmod(made, 0o755);
    await inspectUnpacked(made).catch((error: unknown) => {
      if (!/EACCES/.test(String(error))) throw error; // as above: a copy may be readable
    });
    await rename(made, unpacked);
  } finally {
    await Promise.all([work, made].map((folder) => rm(folder, { recursive: true, force: true })));
  }
}

/** Downloads the packages that an installation would add to this system, without those that the server does not need. */
async function download(folder: string, options: readonly string[]): Promise<void> {
  const { stdout } = await apt([...options, '--print-uris', '-y', '--no-install-recommends', 'install', 'postgresql']);
  const names = [...stdout.matchAll(/^'[^']+' ([^_\s]+)_\S+\.deb /gm)].map(([, name = '']) => name).filter((name) => needed.test(name));
  if (!names.some((name) => /^postgresql-\d+$/.test(name))) throw new Error('apt has no package of PostgreSQL');
  await apt([...options, 'download', ...names], folder);
}

async function apt(args: readonly string[], cwd?: string): Promise<{ stdout: string }> {
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  try {
    return await run('apt-get', ['-qq', '-o', 'Acquire::Retries=2', ...args], { env, cwd, timeout: 120_000, maxBuffer: 1 << 24 });
  } catch (error) {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    throw new Error(`apt-get: ${/^E: (.*)$/m.exec(stderr)?.[1] ?? firstLine(error)}`, { cause: error });
  }
}
