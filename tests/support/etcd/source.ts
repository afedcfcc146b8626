/** Searches for a real etcd, for the demo, the tests and the examples. */
import { readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cachedEtcd, etcdThroughApt } from './apt.ts';
import { compareVersions, firstLine, inspectBinary, onPath, type EtcdBinary } from './binary.ts';
import { defaultImage, startContainer } from './docker.ts';
import { serverVersion } from './http.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** The folder of fetched versions. Not in node_modules, because `npm ci` empties that. */
export const cacheDir = join(root, '.cache', 'etcd');

export type EtcdSource =
  | { readonly kind: 'endpoints'; readonly endpoints: readonly string[]; readonly version: string }
  | ({ readonly kind: 'binary'; readonly way: 'binary' | 'path' | 'cache' | 'apt' } & EtcdBinary)
  | { readonly kind: 'docker'; readonly image: string; readonly version: string };

/** The variables that the search reads. */
export interface SearchEnv {
  readonly PATH?: string | undefined;
  readonly ETCD_SOURCE?: string | undefined;
  readonly ETCD_ENDPOINTS?: string | undefined;
  readonly ETCD_BINARY?: string | undefined;
  readonly ETCD_IMAGE?: string | undefined;
  /** Set by shareEtcd(). */
  readonly ETCD_FOUND?: string | undefined;
}

export interface Search {
  readonly env: SearchEnv;
  readonly cacheDir: string;
}

/** Ways to find an etcd. Each resolves with an etcd, or rejects with the reason why it found none. */
export type Ways = Readonly<Record<'endpoints' | 'binary' | 'path' | 'cache' | 'docker' | 'apt', Way>>;
type Way = (search: Search) => Promise<EtcdSource>;

/** All ways, in the order in which the search tries them. */
export const ways: Ways = {
  async endpoints({ env }) {
    const endpoints = listOf(env.ETCD_ENDPOINTS);
    const [first] = endpoints;
    if (first === undefined) throw new Error('ETCD_ENDPOINTS is not set');
    return { kind: 'endpoints', endpoints, version: await serverVersion(first) };
  },

  async binary({ env }) {
    if (isEmpty(env.ETCD_BINARY)) throw new Error('ETCD_BINARY is not set');
    return { kind: 'binary', way: 'binary', ...(await inspectBinary(env.ETCD_BINARY, env.PATH)) };
  },

  async path({ env }) {
    const etcd = await onPath('etcd', env.PATH);
    if (etcd === null) throw new Error('no etcd is on PATH');
    return { kind: 'binary', way: 'path', ...(await inspectBinary(etcd, env.PATH)) };
  },

  async cache({ env, cacheDir }) {
    const suites = await readdir(cacheDir).catch(() => []);
    const results = await Promise.allSettled(
      suites
        .filter((suite) => !suite.startsWith('.')) // a folder with a dot is still being unpacked
        .map((suite) => inspectBinary(cachedEtcd(cacheDir, suite), env.PATH)),
    );
    const newest = results
      .flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
      .sort((a, b) => compareVersions(b.version, a.version))[0];
    if (newest === undefined) throw new Error(`no etcd in ${cacheDir} runs`);
    return { kind: 'binary', way: 'cache', ...newest };
  },

  async docker({ env }) {
    const image = isEmpty(env.ETCD_IMAGE) ? defaultImage : env.ETCD_IMAGE;
    // Only a started container proves that the engine runs and the image is available.
    const { version, stop } = await startContainer(image);
    await stop();
    return { kind: 'docker', image, version };
  },

  async apt({ env, cacheDir }) {
    return { kind: 'binary', way: 'apt', ...(await etcdThroughApt({ cacheDir, path: env.PATH })) };
  },
};

/**
 * Tries the ways in order, and returns the first etcd that it finds. ETCD_SOURCE limits the search to one way. If ETCD_ENDPOINTS or
 * ETCD_BINARY is set, the search uses no other etcd.
 *
 * @throws {Error} that lists each way with the reason why it found none
 */
export async function searchEtcd(search: Search, tried: Ways = ways): Promise<EtcdSource> {
  const { env } = search;
  const reasons: string[] = [];
  for (const name of namesOf(env, tried)) {
    try {
      return await tried[name](search);
    } catch (error) {
      reasons.push(`  - ${name}: ${firstLine(error)}`);
    }
  }
  throw new Error(
    [
      'Cannot find an etcd. Tried:',
      ...reasons,
      'Set ETCD_ENDPOINTS=host:port, or put etcd (3.4 or newer) on PATH, or start Docker, or use Debian or Ubuntu with apt.',
    ].join('\n'),
  );
}

let found: Promise<EtcdSource> | undefined;

/** Searches once per process. After shareEtcd(), child processes use the same result. */
export function findEtcd(): Promise<EtcdSource> {
  const env: SearchEnv = process.env;
  const { ETCD_FOUND: shared } = env;
  found ??= isEmpty(shared) ? searchEtcd({ env, cacheDir }) : Promise.resolve(JSON.parse(shared) as EtcdSource);
  return found;
}

/** Passes an etcd to child processes by a variable, so that all test files and workers use it without a search. */
export function shareEtcd(source: EtcdSource): void {
  process.env['ETCD_FOUND'] = JSON.stringify(source);
}

/** Returns one line for people: the version, the way and the place. */
export function describeEtcd(source: EtcdSource): string {
  switch (source.kind) {
    case 'endpoints':
      return `etcd ${source.version} at ${source.endpoints.join(',')} (ETCD_ENDPOINTS)`;
    case 'docker':
      return `etcd ${source.version} in Docker (${source.image})`;
    case 'binary':
      return `etcd ${source.version} from ${wayNames[source.way]} (${shortest(source.etcd)})`;
  }
}

/** Returns whether tests can freeze and kill servers: only if the servers run as child processes. */
export async function canControlServers(): Promise<boolean> {
  return (await findEtcd()).kind === 'binary';
}

const wayNames = { binary: 'ETCD_BINARY', path: 'PATH', cache: 'the cache', apt: 'apt' } as const;

function shortest(file: string): string {
  const fromRoot = relative(root, file);
  return fromRoot.startsWith('..') ? file : fromRoot;
}

function namesOf(env: SearchEnv, tried: Ways): (keyof Ways)[] {
  const names = Object.keys(tried) as (keyof Ways)[];
  if (!isEmpty(env.ETCD_SOURCE)) {
    const only = names.find((name) => name === env.ETCD_SOURCE);
    if (only === undefined) throw new Error(`ETCD_SOURCE must be one of ${names.join(', ')}: it is '${env.ETCD_SOURCE}'`);
    return [only];
  }
  if (!isEmpty(env.ETCD_ENDPOINTS)) return ['endpoints'];
  if (!isEmpty(env.ETCD_BINARY)) return ['binary'];
  return names;
}

/** Splits a list of endpoints into 'host:port' each. Removes http://, which is the default. */
function listOf(endpoints: string | undefined): string[] {
  return (endpoints ?? '')
    .split(',')
    .map((endpoint) =>
      endpoint
        .trim()
        .replace(/^http:\/\//, '')
        .replace(/\/$/, ''),
    )
    .filter((endpoint) => endpoint !== '');
}

function isEmpty(value: string | undefined): value is undefined | '' {
  return value === undefined || value === '';
}
