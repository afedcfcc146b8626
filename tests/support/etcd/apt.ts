/**
 * Fetches etcd on Debian and Ubuntu through apt, without root and without changes to the system.
 *
 * apt runs with its own state directory, and downloads the packages of a suite from the configured mirror. The packages are unpacked
 * into the project's cache. apt checks their signatures.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { firstLine, inspectBinary, type EtcdBinary } from './binary.ts';
import { lockCache } from './cache-lock.ts';

const run = promisify(execFile);

/** Newest first. Any Debian release can run the etcd of these suites, because it needs only libc. */
const debianSuites = ['forky', 'trixie'];
const debianAliases = ['stable', 'testing', 'unstable', 'sid', 'oldstable'];

export interface AptOptions {
  readonly cacheDir: string;
  readonly path: string | undefined;
  /** @default all suites of this system, newest first, until one runs */
  readonly suites?: readonly string[];
}

/** Returns the path of the etcd of `suite` in the cache. */
export function cachedEtcd(cacheDir: string, suite: string): string {
  return join(cacheDir, suite, 'usr', 'bin', 'etcd');
}

/**
 * Returns the etcd of the first suite that runs here, from the cache or through apt.
 *
 * @throws {Error} with the reason for each suite that was tried
 */
export async function etcdThroughApt({ cacheDir, path, suites }: AptOptions): Promise<EtcdBinary> {
  const system = await readSystem();
  const release = await lockCache(cacheDir);
  try {
    const reasons: string[] = [];
    for (const suite of suites ?? system.suites) {
      try {
        const etcd = cachedEtcd(cacheDir, suite);
        if (!existsSync(etcd)) await fetchSuite(suite, await findArchive(system, path), cacheDir, path);
        return await inspectBinary(etcd, path);
      } catch (error) {
        reasons.push(`${suite}: ${firstLine(error)}`);
      }
    }
    throw new Error(reasons.join('; '));
  } finally {
    await release();
  }
}

interface System {
  readonly id: string;
  readonly codename: string;
  readonly suites: readonly string[];
}

async function readSystem(): Promise<System> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const field = (name: string): string => new RegExp(`^${name}="?([^"\n]*)`, 'm').exec(text)?.[1] ?? '';
  const id = field('ID');
  const codename = field('VERSION_CODENAME');
  if (id === 'debian') {
    return { id, codename, suites: [...new Set([...debianSuites, codename])].filter((suite) => suite !== '') };
  }
  if (codename !== '' && `${id} ${field('ID_LIKE')}`.split(' ').some((name) => name === 'ubuntu' || name === 'debian')) {
    return { id, codename, suites: [codename] };
  }
  throw new Error('this is neither Debian nor Ubuntu');
}

interface Archive {
  readonly uri: string;
  readonly components: readonly string[];
  readonly keyring: string | null;
}

/** Reads the sources from apt itself, which supports both formats of source lists. */
async function findArchive(system: System, path: string | undefined): Promise<Archive> {
  const releases = new Set([system.codename, ...(system.id === 'debian' ? [...debianAliases, ...debianSuites] : [])]);
  // Without --no-release-info, apt omits sources that were never updated, as in a bare container.
  const format = ['--no-release-info', '--format', '$(SITE)|$(RELEASE)|$(COMPONENT)', 'Created-By: Packages'];
  const { stdout } = await command('apt-get', ['indextargets', ...format], path);
  const sources = stdout
    .split('\n')
    .map((line) => line.split('|'))
    .filter(([, suite = '', component = '']) => releases.has(suite) && ['main', 'universe'].includes(component));
  const uri = sources[0]?.[0];
  if (uri === undefined) throw new Error('apt has no source for the main packages of this system');
  const components = new Set(sources.filter(([site]) => site === uri).map(([, , component = 'main']) => component));
  const keyring = ['gpg', 'pgp']
    .map((ending) => `/usr/share/keyrings/${system.id}-archive-keyring.${ending}`)
    .find((file) => existsSync(file));
  return { uri, components: [...components], keyring: keyring ?? null };
}

async function fetchSuite(suite: string, archive: Archive, cacheDir: string, path: string | undefined): Promise<void> {
  console.error(`Fetching etcd of ${suite} through apt into the cache`);
  // A folder under /tmp, because apt's own user cannot read every home folder.
  const work = await mkdtemp(join(tmpdir(), 'etcd-apt-'));
  await chmod(work, 0o755);
  const unpacked = await mkdtemp(join(cacheDir, `.${suite}-`)); // in the same folder as its target, for an atomic rename
  try {
    await Promise.all(['lists/partial', 'cache/archives/partial'].map((dir) => mkdir(join(work, dir), { recursive: true })));
    // Only the package lists: the sources of a desktop also fetch translations and icons.
    const marks = ['target=Packages', ...(archive.keyring === null ? [] : [`signed-by=${archive.keyring}`])];
    const source = `deb [${marks.join(' ')}] ${archive.uri} ${suite} ${archive.components.join(' ')}\n`;
    await writeFile(join(work, 'sources.list'), source);
    const settings = {
      'Dir::Etc::sourcelist': join(work, 'sources.list'),
      'Dir::Etc::sourceparts': '-',
      'Dir::Etc::preferences': '/dev/null',
      'Dir::Etc::preferencesparts': '-',
      'Dir::State::Lists': join(work, 'lists'),
      'Dir::Cache': join(work, 'cache'),
      'APT::Default-Release': '',
      'APT::Update::Error-Mode': 'any', // otherwise a failed download of a suite counts as success
      'Acquire::Languages': 'none',
      'Acquire::Retries': '2',
    };
    const options = ['-qq', ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
    await command('apt-get', [...options, 'update'], path);
    await command('apt-get', [...options, 'download', 'etcd-server', 'etcd-client'], path, work);
    for (const file of await readdir(work)) {
      if (file.endsWith('.deb')) await command('dpkg-deb', ['-x', join(work, file), unpacked], path);
    }
    await inspectBinary(join(unpacked, 'usr', 'bin', 'etcd'), path); // throws before the rename if the binary does not run
    await rename(unpacked, join(cacheDir, suite)).catch((error: unknown) => {
      if (!existsSync(cachedEtcd(cacheDir, suite))) throw error; // otherwise another process has fetched it
    });
  } finally {
    await Promise.all([work, unpacked].map((folder) => rm(folder, { recursive: true, force: true })));
  }
}

async function command(name: string, args: string[], path: string | undefined, cwd?: string): Promise<{ stdout: string }> {
  const env = { ...process.env, PATH: path ?? '', LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  try {
    return await run(name, args, { env, cwd, timeout: 180_000, maxBuffer: 16 * 1024 * 1024 });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new Error(`${name} is not on PATH`, { cause: error });
    }
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    const reason = /^E: (.*)$/m.exec(stderr)?.[1] ?? firstLine(error);
    throw new Error(`${name} ${args.at(-1) ?? ''}: ${reason}`, { cause: error });
  }
}
