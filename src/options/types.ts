/** The public option types, and the types of resolved options that the other folders use. */
import type { Logger } from '../context.ts';
import type { Mode } from '../kind.ts';
import type { Store } from '../store/store.ts';

/** The options of `createLocker`. All durations are in milliseconds. */
export interface LockerOptions {
  /**
   * The members of the etcd cluster: bare hosts or `http://` or `https://` URLs, each with an optional port.
   * @default '127.0.0.1:2379'
   */
  readonly hosts?: string | readonly string[] | undefined;
  /**
   * Certificates for TLS. Give `privateKey` and `certChain` together or not at all.
   *
   * A function is called for each new connection, so a running locker can use a renewed certificate. It has
   * `0.8 * requestTimeoutMs / (hosts + 1)` to return. A call that fails counts as a failure of the host, and is retried.
   */
  readonly credentials?: Credentials | (() => Credentials | Promise<Credentials>) | undefined;
  /**
   * A user of etcd's authentication. Not used as long as authentication is not enabled in etcd.
   *
   * A function is called for each new token, so a running locker can use a changed password. It has the same time as `credentials`.
   */
  readonly auth?: Auth | (() => Auth | Promise<Auth>) | undefined;
  /** Channel options of @grpc/grpc-js. They override the defaults, except those that would make gRPC send a request again. */
  readonly grpcOptions?: Readonly<Record<string, unknown>> | undefined;
  /** Another store in place of etcd, such as `memoryStore()`. Excludes the options above. */
  readonly store?: Store | undefined;
  /**
   * The beginning of every key.
   * @default 'locks/'
   */
  readonly prefix?: string | undefined;
  /**
   * The text that others read of a holder, up to 64 KiB.
   * @default `${hostname}:${pid}`
   */
  readonly value?: string | undefined;
  /**
   * The time in milliseconds after which the locks of a dead process are free. At least 2 000, rounded up to whole seconds.
   * @default 15_000
   */
  readonly ttlMs?: number | undefined;
  /**
   * The time limit in milliseconds for one request, over all hosts. At least 50.
   * @default 5_000
   */
  readonly requestTimeoutMs?: number | undefined;
  /** Receives log lines. They never contain a secret. */
  readonly logger?: Logger | undefined;
  /**
   * How long this process keeps an exclusive lock after its release, in milliseconds. A call may give its own `keepMs`, whose text has
   * the price. The next call for the name in this process takes the lock without a request. It does not apply to calls with
   * `mode: 'shared'`, `slots`, `minHoldMs` or `renew: false`, nor to `lead`.
   * @default 0
   */
  readonly keepMs?: number | undefined;
}

/** Certificates and the private key for TLS, in PEM format. */
export interface Credentials {
  /** The certificates of the authorities that sign the servers' certificates. Default: the authorities that Node trusts. */
  readonly rootCertificate?: Buffer | undefined;
  /** The private key of the client. */
  readonly privateKey?: Buffer | undefined;
  /** The certificate of the client, followed by those of its authorities. */
  readonly certChain?: Buffer | undefined;
  /** The passphrase of `privateKey`, if the key is encrypted. */
  readonly passphrase?: string | undefined;
}

/** The name and the password of a user of etcd's authentication. */
export interface Auth {
  readonly username: string;
  readonly password: string;
}

/** The options of `lock`, `tryLock`, `lockAll`, `tryLockAll` and `withLock`. All durations are in milliseconds. */
export type LockOptions = CallOptions & (ModeOptions | SlotsOptions | MinimumHoldOptions | KeptLockOptions);

/** The options of a call, apart from the kind of the lock and what its release leaves. */
export interface CallOptions {
  /** The text that others read of this holder, up to 64 KiB. Default: `value` of the locker. */
  readonly value?: string | undefined;
  /** The time in milliseconds after which the lock of a dead process is free. Default: `ttlMs` of the locker. */
  readonly ttlMs?: number | undefined;
  /**
   * The time limit in milliseconds. If the lock is busy, `lock` then rejects with a LockTimeoutError, and `tryLock` resolves with null.
   * If etcd has not responded, both reject with an EtcdUnavailableError. With Infinity, both wait for ever. Default: `lock` waits for
   * ever, `tryLock` does not wait.
   */
  readonly timeoutMs?: number | undefined;
  /** Cancels the call while it waits. It has no effect on a held lock. */
  readonly signal?: AbortSignal | undefined;
  /** The longest hold in milliseconds, or Infinity. Then the lock is released and counts as lost: its signal aborts with the reason 'max-hold'. */
  readonly maxHoldMs?: number | undefined;
  /**
   * With false, the lock has a lease of its own that is not renewed while the lock is held. The lock ends after `ttlMs`.
   * @default true
   */
  readonly renew?: boolean | undefined;
}

/**
 * The options of `lead`. A campaign has no time limit, and the lock is exclusive and renewed. `signal` ends the campaign. `maxHoldMs`
 * limits a term: then the lock is lost, and the next campaign begins at the end of the queue.
 */
export type LeadOptions = Pick<CallOptions, 'value' | 'ttlMs' | 'signal' | 'maxHoldMs'>;

/** The options of `close`. */
export interface CloseOptions {
  /**
   * How long held locks may still be released by their holders, in milliseconds. Their renewals go on. Then they are lost.
   * @default 0
   */
  readonly drainMs?: number | undefined;
}

/** An exclusive or a shared lock. */
export interface ModeOptions {
  /**
   * With 'shared', any number of shared holders hold the lock together. Exclusive and shared locks exclude each other. Not beside `slots`.
   * @default 'exclusive'
   */
  readonly mode?: Mode | undefined;
  readonly slots?: undefined;
  readonly minHoldMs?: undefined;
  readonly keepMs?: 0 | undefined;
}

/** A semaphore. */
export interface SlotsOptions {
  readonly mode?: undefined;
  /**
   * Makes the lock a semaphore that up to this number of callers hold together. Not beside `mode`.
   *
   * All callers must pass the same number. A caller with another number waits until the name is free.
   */
  readonly slots?: number | undefined;
  readonly minHoldMs?: undefined;
  readonly keepMs?: 0 | undefined;
}

/** An exclusive lock with a minimum hold. */
export interface MinimumHoldOptions {
  readonly mode?: 'exclusive' | undefined;
  readonly slots?: undefined;
  readonly renew?: true | undefined;
  /**
   * The shortest hold in milliseconds. A release before that leaves the name taken until then, rounded up to whole seconds, even if the
   * process ends. It makes a job run once per tick in a fleet. Not beside `mode: 'shared'`, `slots`, `renew: false` or `keepMs`.
   * @default 0
   */
  readonly minHoldMs?: number | undefined;
  readonly keepMs?: 0 | undefined;
}

/** An exclusive lock that this process keeps after its release. */
export interface KeptLockOptions {
  readonly mode?: 'exclusive' | undefined;
  readonly slots?: undefined;
  readonly renew?: true | undefined;
  readonly minHoldMs?: undefined;
  /**
   * How long this process keeps the lock after its release, in milliseconds. Meanwhile the next call for the name in this process takes
   * it without a request. A waiter of another process ends that at once. Not beside `mode: 'shared'`, `slots`, `renew: false` or
   * `minHoldMs`. With 0, the `keepMs` of the locker does not apply.
   *
   * Its price: holds in a row of one process have one `fencingToken`. `tryLock` of other processes resolves with null while the lock is
   * kept, and `inspect` and `watch` show it as held. A process that ends without `close` blocks the name for `ttlMs`.
   * Default: `keepMs` of the locker.
   */
  readonly keepMs?: number | undefined;
}

/** The options of `list`. */
export interface ListOptions {
  /** Only names with this prefix. Default: all names. */
  readonly startsWith?: string | undefined;
}

/** The options of `breakLock`. */
export interface BreakOptions {
  /** Removes only holders with this fencing token. Holders of a semaphore and readers may share one. Default: all holders. */
  readonly fencingToken?: bigint | undefined;
}

/** The options of `watch`. */
export interface WatchOptions {
  /** Ends the iteration without an error. */
  readonly signal?: AbortSignal | undefined;
  /**
   * With true, the iteration rejects if etcd does not respond to the first read within `requestTimeoutMs`. Otherwise it waits.
   * @default false
   */
  readonly failFast?: boolean | undefined;
}

/** The options of `watch` without a name. */
export type WatchAllOptions = WatchOptions & ListOptions;

export interface EtcdOptions {
  /** URLs with scheme and port. */
  readonly hosts: readonly string[];
  readonly credentials: LockerOptions['credentials'];
  readonly auth: LockerOptions['auth'];
  readonly grpcOptions: Readonly<Record<string, unknown>>;
}

/** The options of a locker, with defaults. */
export interface ResolvedOptions {
  readonly etcd: EtcdOptions;
  readonly store: Store | undefined;
  readonly prefix: string;
  readonly value: string;
  readonly ttlSeconds: number;
  readonly requestTimeoutMs: number;
  readonly logger: Logger;
  /** 0 if locks are not kept. */
  readonly keepMs: number;
}

/** The options of one call, with defaults. */
export interface ResolvedLockOptions {
  readonly value: string;
  readonly ttlSeconds: number;
  /** The kind of the entry. */
  readonly slots: number;
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly maxHoldMs: number | undefined;
  readonly minHoldMs: number | undefined;
  /** Undefined if the lock is not kept after its release. */
  readonly keepMs: number | undefined;
  /** With `renew: false`, an object that identifies the private lease of this call. Undefined for a shared lease. */
  readonly lease: object | undefined;
  /** A candidate of `lead()`, which waits for as long as another one leads. */
  readonly isCandidate?: boolean;
}
