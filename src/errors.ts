/**
 * What can go wrong, each as a class with a stable `code`.
 *
 * The ESM and the CommonJS build of this package may both be loaded in one process; their classes differ, so the brand
 * and the `code`, not `instanceof`, are what holds across them.
 */
import { onOneLine, quote } from './text.ts';

const brand = Symbol.for('etcd-locker.error');

export type LockerErrorCode =
  'INVALID_OPTIONS' | 'LOCK_TIMEOUT' | 'LOCK_LOST' | 'LOCK_RELEASED' | 'LOCKER_CLOSED' | 'ETCD_UNAVAILABLE' | 'ETCD_AUTH' | 'ETCD_REFUSED';

/** The base of every error that this package makes; tell them apart by `code`. */
export abstract class LockerError extends Error {
  abstract readonly code: LockerErrorCode;
  readonly [brand] = true;

  constructor(message: string) {
    // Servers, hosts and keys of options have a say in it.
    super(onOneLine(message));
  }
}

/**
 * Whether `error` was made by this package, by whichever of its copies.
 *
 * @example
 * if (isLockerError(error) && error.code === 'LOCK_TIMEOUT') return 'busy'
 */
export function isLockerError(error: unknown): error is LockerError {
  return typeof error === 'object' && error !== null && brand in error;
}

/** One thing that is wrong with an option. */
export interface OptionIssue {
  /** Where it is, as in `hosts[0]`; empty for the whole. */
  readonly path: string;
  /** What was expected there. */
  readonly message: string;
}

/** An option is not what it must be; nothing was sent. */
export class InvalidOptionsError extends LockerError {
  override readonly name = 'InvalidOptionsError';
  readonly code = 'INVALID_OPTIONS';
  readonly issues: readonly OptionIssue[];

  constructor(what: string, issues: readonly OptionIssue[]) {
    const list = issues.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
    super(`Cannot ${what}: ${list.join('; ')}`);
    this.issues = issues;
  }
}

/** The lock was not to be had within `timeoutMs`; no place in the queue is left behind. */
export class LockTimeoutError extends LockerError {
  override readonly name = 'LockTimeoutError';
  readonly code = 'LOCK_TIMEOUT';
  readonly lockName: string;
  readonly timeoutMs: number;
  /** The value of who held it then, where one more read could tell. */
  readonly holder: string | undefined;

  constructor(lockName: string, timeoutMs: number, holder: string | undefined) {
    const by = holder === undefined ? '' : `, held by ${quote(abbreviate(holder))}`;
    super(`Cannot acquire lock ${quote(lockName)} within ${String(timeoutMs)} ms${by}`);
    this.lockName = lockName;
    this.timeoutMs = timeoutMs;
    this.holder = holder;
  }
}

/** Why a lock was lost: its lease may be over, somebody deleted its key, it was held too long, its locker was closed. */
export type LossReason = 'expired' | 'deleted' | 'max-hold' | 'closed';

const lossTexts: Record<LossReason, string> = {
  expired: 'its lease may be over',
  deleted: 'its key in etcd was deleted',
  'max-hold': 'it was held for longer than maxHoldMs',
  closed: 'its locker was closed',
};

/** The lock may be somebody else's by now; this is final. */
export class LockLostError extends LockerError {
  override readonly name = 'LockLostError';
  readonly code = 'LOCK_LOST';
  readonly lockName: string;
  readonly fencingToken: bigint;
  readonly reason: LossReason;

  constructor(lockName: string, fencingToken: bigint, reason: LossReason) {
    super(`Cannot keep lock ${quote(lockName)} (token ${String(fencingToken)}): ${lossTexts[reason]}`);
    this.lockName = lockName;
    this.fencingToken = fencingToken;
    this.reason = reason;
  }
}

/** The lock was used after its own release. */
export class LockReleasedError extends LockerError {
  override readonly name = 'LockReleasedError';
  readonly code = 'LOCK_RELEASED';
  readonly lockName: string;

  constructor(lockName: string) {
    super(`Cannot use lock ${quote(lockName)}: it was released`);
    this.lockName = lockName;
  }
}

/** The locker was closed before or during the call. */
export class LockerClosedError extends LockerError {
  override readonly name = 'LockerClosedError';
  readonly code = 'LOCKER_CLOSED';

  constructor() {
    super('Cannot use locker: it is closed');
  }
}

/** What one host answered, or why it did not. */
export interface HostFailure {
  readonly host: string;
  readonly reason: string;
}

/** No host of etcd answered within `requestTimeoutMs`. */
export class EtcdUnavailableError extends LockerError {
  override readonly name = 'EtcdUnavailableError';
  readonly code = 'ETCD_UNAVAILABLE';
  readonly hosts: readonly HostFailure[];

  constructor(timeoutMs: number, hosts: readonly HostFailure[]) {
    const list = hosts.map(({ host, reason }) => `${host} (${reason})`).join(', ');
    super(`Cannot reach etcd within ${String(timeoutMs)} ms: ${list === '' ? 'no answer' : list}`);
    this.hosts = hosts;
  }
}

/** The credentials are wrong, certificates included, or the role may not read and write under the prefix. */
export class EtcdAuthError extends LockerError {
  override readonly name = 'EtcdAuthError';
  readonly code = 'ETCD_AUTH';
  readonly prefix: string;

  constructor(prefix: string, reason: string, remedy = `the role must be allowed to read and write under the prefix ${quote(prefix)}`) {
    super(`Cannot use etcd: ${reason}; ${remedy}`);
    this.prefix = prefix;
  }
}

/** etcd refused a request, such as for want of space. */
export class EtcdRefusedError extends LockerError {
  override readonly name = 'EtcdRefusedError';
  readonly code = 'ETCD_REFUSED';

  constructor(reason: string) {
    super(`Cannot use etcd: it refused the request: ${reason}`);
  }
}

const abbreviate = (text: string): string => (text.length > 200 ? `${text.slice(0, 200)}…` : text);
