/**
 * The errors of the package: one class for each reason, each with a stable `code`. The two without a code come from a store, and are
 * handled inside.
 *
 * One process may load both the ESM and the CommonJS build of this package, and their classes differ. So `isLockerError` checks a
 * registered symbol, and callers compare the `code`. `instanceof` works within one build only.
 */
import { toJsonMembers } from './json.ts';
import { onOneLine, quote } from './text.ts';

const brand = Symbol.for('etcd-locker.error');

/** The `code` of each error class. */
export type LockerErrorCode =
  | 'INVALID_OPTIONS'
  | 'LOCK_TIMEOUT'
  | 'LOCK_LOST'
  | 'LOCK_RELEASED'
  | 'LOCKER_CLOSED'
  | 'ETCD_UNAVAILABLE'
  | 'ETCD_AUTH'
  | 'ETCD_REFUSED'
  | 'CLIENT_LOAD';

/** The base class of all errors of this package. Compare `code` to distinguish them. */
export abstract class LockerError extends Error {
  abstract readonly code: LockerErrorCode;
  /** @internal */
  readonly [brand] = true;

  constructor(message: string, options?: ErrorOptions) {
    // Parts of the message come from servers, hosts and option keys.
    super(onOneLine(message), options);
  }

  /** Returns the message, the code, the fields of the class and the cause, as `JSON.stringify` writes them. */
  toJSON(): Record<string, unknown> {
    const { name, code, message, cause } = this;
    return { name, code, message, ...toJsonMembers(this), ...(cause === undefined ? {} : { cause: describeCause(cause) }) };
  }
}

/** All error classes. The `code` distinguishes them. */
export type AnyLockerError =
  | InvalidOptionsError
  | LockTimeoutError
  | LockLostError
  | LockReleasedError
  | LockerClosedError
  | EtcdUnavailableError
  | EtcdAuthError
  | EtcdRefusedError
  | ClientLoadError;

/**
 * Reports whether this package made `error`. Recognizes errors of another copy of the package too.
 *
 * @example
 * if (isLockerError(error) && error.code === 'LOCK_TIMEOUT') return `${error.lockName} is busy`
 */
export function isLockerError(error: unknown): error is AnyLockerError {
  return typeof error === 'object' && error !== null && brand in error;
}

/** One wrong option. */
export interface OptionIssue {
  /** The path of the option, such as `hosts[0]`. Empty if the options as a whole are wrong. */
  readonly path: string;
  /** The expected value, and the given one unless it may be a secret. */
  readonly message: string;
}

/** A name or an option is invalid. Nothing was sent to etcd. */
export class InvalidOptionsError extends LockerError {
  override readonly name = 'InvalidOptionsError';
  readonly code = 'INVALID_OPTIONS' as const;
  /** All wrong options of the call. */
  readonly issues: readonly OptionIssue[];

  constructor(action: string, issues: readonly OptionIssue[]) {
    const list = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
    super(`Cannot ${action}: ${list.join('; ')}`);
    this.issues = issues;
  }
}

/** The caller still waited when `timeoutMs` ended. Its entry is removed from the queue. */
export class LockTimeoutError extends LockerError {
  override readonly name = 'LockTimeoutError';
  readonly code = 'LOCK_TIMEOUT' as const;
  readonly lockName: string;
  readonly timeoutMs: number;
  /** The holder's value at the timeout. Undefined if etcd did not report it in time. */
  readonly holder: string | undefined;

  /**
   * The `cause` is the failure of the last requests, if etcd was silent at the timeout. `mismatch` says that callers of the name do not
   * agree on its slots.
   */
  constructor(
    lockName: string,
    timeoutMs: number,
    holder: string | undefined,
    { mismatch, ...options }: ErrorOptions & { readonly mismatch?: string | undefined } = {},
  ) {
    const state = holder === undefined ? 'still waiting' : `held by ${quote(abbreviate(holder))}`;
    const notes = [...(mismatch === undefined ? [] : [mismatch]), ...(options.cause === undefined ? [] : ['etcd does not respond'])];
    const suffix = notes.length === 0 ? '' : ` (${notes.join('; ')})`;
    super(`Cannot lock ${quote(lockName)} within ${String(timeoutMs)} ms: ${state}${suffix}`, options);
    this.lockName = lockName;
    this.timeoutMs = timeoutMs;
    this.holder = holder;
  }
}

/**
 * Why a lock was lost:
 * - `expired`: its lease may have expired
 * - `deleted`: its key was deleted from etcd
 * - `max-hold`: it was held for `maxHoldMs`
 * - `closed`: its locker was closed
 */
export type LossReason = 'expired' | 'deleted' | 'max-hold' | 'closed';

const lossTexts: Record<LossReason, string> = {
  expired: 'its lease may have expired',
  deleted: 'its key in etcd was deleted',
  'max-hold': 'it was held for longer than maxHoldMs',
  closed: 'its locker was closed',
};

/** Another process may hold the lock by now. A lost lock never comes back. */
export class LockLostError extends LockerError {
  override readonly name = 'LockLostError';
  readonly code = 'LOCK_LOST' as const;
  readonly lockName: string;
  readonly fencingToken: bigint;
  readonly reason: LossReason;

  /** The `cause` is the failure of the last renewals, if they failed. */
  constructor(lockName: string, fencingToken: bigint, reason: LossReason, options?: ErrorOptions) {
    super(`Cannot keep lock ${quote(lockName)} (token ${String(fencingToken)}): ${lossTexts[reason]}`, options);
    this.lockName = lockName;
    this.fencingToken = fencingToken;
    this.reason = reason;
  }
}

/** The lock was used after its release. */
export class LockReleasedError extends LockerError {
  override readonly name = 'LockReleasedError';
  readonly code = 'LOCK_RELEASED' as const;
  readonly lockName: string;

  constructor(lockName: string) {
    super(`Cannot use lock ${quote(lockName)}: it was released`);
    this.lockName = lockName;
  }
}

/** The locker was closed before or during the call. */
export class LockerClosedError extends LockerError {
  override readonly name = 'LockerClosedError';
  readonly code = 'LOCKER_CLOSED' as const;

  constructor() {
    super('Cannot use the locker: it is closed');
  }
}

/** The failure of one host: its error, or why it did not respond. */
export interface HostFailure {
  readonly host: string;
  readonly reason: string;
}

/** No host of etcd responded within `requestTimeoutMs`, or within the `timeoutMs` of the call. */
export class EtcdUnavailableError extends LockerError {
  override readonly name = 'EtcdUnavailableError';
  readonly code = 'ETCD_UNAVAILABLE' as const;
  /** The failures, one for each host that was tried. */
  readonly hosts: readonly HostFailure[];

  constructor(timeoutMs: number, hosts: readonly HostFailure[], message = describeSilence(timeoutMs, hosts)) {
    super(message);
    this.hosts = hosts;
  }
}

function describeSilence(timeoutMs: number, hosts: readonly HostFailure[]): string {
  const list = hosts.map(({ host, reason }) => `${host} (${reason})`).join(', ');
  return `Cannot reach etcd within ${String(timeoutMs)} ms: ${list === '' ? 'no response' : list}`;
}

/** etcd responds, but more slowly than a sixth of the TTL: no lease of that TTL can be renewed in time. */
export class TtlTooShortError extends EtcdUnavailableError {
  readonly roundTripMs: number;

  constructor(ttlMs: number, roundTripMs: number) {
    const measuredMs = Math.ceil(roundTripMs);
    const state = `a round trip to etcd takes ${String(measuredMs)} ms`;
    super(ttlMs, [], `Cannot keep a lease of ${String(ttlMs)} ms: ${state}; set ttlMs to at least ${String(6 * measuredMs)}`);
    this.roundTripMs = roundTripMs;
  }
}

/** The credentials or certificates are wrong, or the role may not read and write under the prefix. */
export class EtcdAuthError extends LockerError {
  override readonly name = 'EtcdAuthError';
  readonly code = 'ETCD_AUTH' as const;
  readonly prefix: string;

  constructor(prefix: string, reason: string, remedy = `the role needs readwrite permission for the prefix ${quote(prefix)}`) {
    super(`Cannot use etcd: ${reason}; ${remedy}`);
    this.prefix = prefix;
  }
}

/** etcd refused a request, for example because its storage is full. */
export class EtcdRefusedError extends LockerError {
  override readonly name = 'EtcdRefusedError';
  readonly code = 'ETCD_REFUSED' as const;
  /** Whether no retry can help, as after a corrupt alarm. False if the state of etcd may change, as with a full disk. */
  readonly isFinal: boolean;

  constructor(reason: string, { isFinal = false, ...options }: ErrorOptions & { readonly isFinal?: boolean } = {}) {
    super(`Cannot use etcd: it refused the request: ${reason}`, options);
    this.isFinal = isFinal;
  }
}

/** The packages `etcd3` and `@grpc/grpc-js` could not be loaded. A retry cannot help. */
export class ClientLoadError extends LockerError {
  override readonly name = 'ClientLoadError';
  readonly code = 'CLIENT_LOAD' as const;

  constructor(cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(`Cannot load the packages etcd3 and @grpc/grpc-js: ${reason}; install them, and keep them out of bundles`, { cause });
  }
}

/** The outcome of a write is unknown: etcd may have applied it, may apply it later, or may never apply it. */
export class OutcomeUnknownError extends Error {
  override readonly name = 'OutcomeUnknownError';
  readonly hosts: readonly HostFailure[];

  /** The `cause` is the refusal, if etcd refused the write in a way that does not prove that it was not applied. */
  constructor(hosts: readonly HostFailure[], options?: ErrorOptions) {
    const list = hosts.map(({ host, reason }) => `${host} (${reason})`).join(', ');
    super(`Cannot tell whether a write was applied: no response from ${list}`, options);
    this.hosts = hosts;
  }
}

/** etcd refused a request because its lease is gone. */
export class LeaseNotFoundError extends Error {
  override readonly name = 'LeaseNotFoundError';
}

/** Reports whether no retry can help: wrong credentials, a corrupt cluster, a client that cannot be loaded, a TTL that is too short. */
export const isFinal = (error: unknown): error is EtcdAuthError | EtcdRefusedError | ClientLoadError | TtlTooShortError =>
  error instanceof EtcdAuthError ||
  error instanceof ClientLoadError ||
  error instanceof TtlTooShortError ||
  (error instanceof EtcdRefusedError && error.isFinal);

/** The members of other errors are unknown: JSON may not be able to hold them. */
const describeCause = (cause: unknown): unknown => (isLockerError(cause) ? cause : onOneLine(String(cause)));

const abbreviate = (text: string): string => (text.length > 200 ? `${text.slice(0, 200)}…` : text);
