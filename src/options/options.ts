/** The options: what they mean, and their defaults. */
import { hostname } from 'node:os';
import type { Logger } from '../context.ts';
import { InvalidOptionsError } from '../errors.ts';
import { hostList, toUrl } from './host-url.ts';
import { exclusive, type Mode, shared } from '../kind.ts';
import { onOneLine } from '../text.ts';
import { maxNameBytes, parse } from './schema.ts';
import type { Store } from '../store/store.ts';

/** What {@link createLocker} takes; every duration is in milliseconds. */
export interface LockerOptions {
  /**
   * The members of the etcd cluster: `http://` or `https://` or a bare host, with a port.
   * @default '127.0.0.1:2379'
   */
  readonly hosts?: string | readonly string[] | undefined;
  /** TLS, as etcd3 takes it: `privateKey` and `certChain` together or not at all. */
  readonly credentials?: Credentials | undefined;
  /** A user of etcd's own authentication. */
  readonly auth?: { readonly username: string; readonly password: string } | undefined;
  /** Channel options for @grpc/grpc-js; they win over ours, but for those that make it send a request again. */
  readonly grpcOptions?: Readonly<Record<string, unknown>> | undefined;
  /** Another store in place of etcd, such as `memoryStore()`; excludes the options above. */
  readonly store?: Store | undefined;
  /**
   * What every key begins with.
   * @default 'locks/'
   */
  readonly prefix?: string | undefined;
  /**
   * What others read of a holder: up to 64 KiB.
   * @default `${hostname}:${pid}`
   */
  readonly value?: string | undefined;
  /**
   * How long a lock outlives its process; from 2 000, rounded up to whole seconds, as etcd counts them.
   * @default 15_000
   */
  readonly ttlMs?: number | undefined;
  /**
   * How long one request may go unanswered, over all hosts.
   * @default 5_000
   */
  readonly requestTimeoutMs?: number | undefined;
  /** Told what is going on, never a secret. */
  readonly logger?: Logger | undefined;
}

export interface Credentials {
  readonly rootCertificate: Buffer;
  readonly privateKey?: Buffer | undefined;
  readonly certChain?: Buffer | undefined;
}

/** What `lock` and `tryLock` take. */
export interface LockOptions {
  /** What others read of this holder: up to 64 KiB. Default: the locker's. */
  readonly value?: string | undefined;
  /** How long the lock outlives its process, in milliseconds. Default: the locker's. */
  readonly ttlMs?: number | undefined;
  /** `lock`: rejects with LockTimeoutError after so many milliseconds; `tryLock`: waits at most so long, then answers null. */
  readonly timeoutMs?: number | undefined;
  /** Cancels the waiting, not the holding. */
  readonly signal?: AbortSignal | undefined;
  /**
   * With 'shared' any number of shared holders hold together; exclusive and shared exclude each other. Not beside `slots`.
   * @default 'exclusive'
   */
  readonly mode?: Mode | undefined;
  /** A semaphore: at most so many hold together. All who use the name must give the same number; who gives another waits. */
  readonly slots?: number | undefined;
  /** After so many milliseconds the lock is given up: its signal aborts with reason 'max-hold', and others may have it. */
  readonly maxHoldMs?: number | undefined;
  /**
   * With false the lock has a lease of its own that is renewed as it is acquired and never after: it ends by itself after `ttlMs`.
   * @default true
   */
  readonly renew?: boolean | undefined;
}

/** What `list` takes. */
export interface ListOptions {
  /** Only names that begin with it. */
  readonly startsWith?: string | undefined;
}

export interface WatchOptions {
  /** Ends the watch. */
  readonly signal?: AbortSignal | undefined;
}

export interface EtcdOptions {
  /** As URLs with scheme and port. */
  readonly hosts: readonly string[];
  readonly credentials: Credentials | undefined;
  readonly auth: { readonly username: string; readonly password: string } | undefined;
  readonly grpcOptions: Readonly<Record<string, unknown>>;
}

export interface ResolvedOptions {
  readonly etcd: EtcdOptions;
  readonly store: Store | undefined;
  readonly prefix: string;
  readonly value: string;
  readonly ttlSeconds: number;
  readonly requestTimeoutMs: number;
  readonly logger: Logger;
}

export interface ResolvedLockOptions {
  readonly value: string;
  readonly ttlSeconds: number;
  /** The kind of the entry. */
  readonly slots: number;
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly maxHoldMs: number | undefined;
  /** With `renew: false`, what stands for the lease of its own. */
  readonly lease: object | undefined;
}

const silent = (): void => undefined;
const silentLogger: Logger = { debug: silent, info: silent, warn: silent, error: silent };

// A logger that throws must not end what it was told of.
function guarded(logger: Logger): Logger {
  const guard =
    (level: keyof Logger) =>
    (...args: unknown[]): void => {
      try {
        logger[level](...args.map((arg) => (typeof arg === 'string' ? onOneLine(arg) : arg)));
      } catch {
        // There is nobody left to tell.
      }
    };
  return { debug: guard('debug'), info: guard('info'), warn: guard('warn'), error: guard('error') };
}

export function resolveLockerOptions(input: unknown): ResolvedOptions {
  const options = parse('create locker', ({ locker }) => locker, input === undefined ? {} : input);
  const { credentials, requestTimeoutMs = 5_000 } = options;
  return Object.freeze({
    etcd: {
      hosts: [...new Set(hostList(options.hosts).map((one) => toUrl(one, credentials !== undefined)))],
      credentials: credentials,
      auth: options.auth,
      grpcOptions: options.grpcOptions ?? {},
    },
    store: options.store,
    prefix: options.prefix ?? 'locks/',
    value: options.value ?? `${hostname()}:${String(process.pid)}`,
    ttlSeconds: Math.ceil((options.ttlMs ?? 15_000) / 1000),
    requestTimeoutMs,
    logger: options.logger === undefined ? silentLogger : guarded(options.logger),
  });
}

export function resolveLockOptions(input: unknown, defaults: ResolvedOptions): ResolvedLockOptions {
  const options = input === undefined ? {} : parse('lock', ({ lock }) => lock, input);
  return {
    value: options.value ?? defaults.value,
    ttlSeconds: options.ttlMs === undefined ? defaults.ttlSeconds : Math.ceil(options.ttlMs / 1000),
    slots: options.slots ?? (options.mode === 'shared' ? shared : exclusive),
    timeoutMs: options.timeoutMs,
    signal: options.signal,
    maxHoldMs: options.maxHoldMs,
    lease: options.renew === false ? {} : undefined,
  };
}

export function resolveListOptions(input: unknown): { readonly startsWith: string } {
  const { startsWith = '' } = input === undefined ? {} : parse('list locks', ({ list }) => list, input);
  return { startsWith };
}

export function resolveWatchOptions(input: unknown): WatchOptions {
  return input === undefined ? {} : parse('watch', ({ watch }) => watch, input);
}

/** @throws {InvalidOptionsError} when it is no well-formed string of 1 to 1024 bytes */
export function checkName(name: unknown): asserts name is string {
  // A lock asks for this each time, and the schema takes longer to say yes.
  if (typeof name === 'string' && name.length > 0 && name.length <= maxNameBytes / 3 && name.isWellFormed()) return;
  parse('lock', (schemas) => schemas.name, name, 'name');
}

/** @throws {InvalidOptionsError} when it is no well-formed string of at most 64 KiB */
export function checkValue(input: unknown): asserts input is string {
  parse('set value', (schemas) => schemas.value, input, 'value');
}

/**
 * The distinct names, in the order in which they were first given.
 * @throws {InvalidOptionsError} one is not what it must be, or they are more than `most`
 */
export function checkNames(names: unknown, what: string, most = Infinity): readonly string[] {
  const isList = typeof names === 'object' && names !== null && Symbol.iterator in names;
  const list = parse(what, (schemas) => schemas.names, isList ? [...(names as Iterable<unknown>)] : names, 'names');
  const distinct = [...new Set(list)];
  if (distinct.length <= most) return distinct;
  const expected = `expected at most ${String(most)} distinct names, as one transaction of etcd takes no more, got ${String(distinct.length)}`;
  throw new InvalidOptionsError(what, [{ path: 'names', message: expected }]);
}
