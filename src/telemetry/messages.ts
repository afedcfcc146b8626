/**
 * The messages that this package publishes on channels of `node:diagnostics_channel`.
 *
 * A message never contains a secret or the `value` of a holder, because a value may be personal. Names are in messages: without them no
 * message is of use. docs/telemetry.md has a table for each message.
 */
import type { LockLostError, LossReason } from '../errors.ts';
import type { Mode } from '../kind.ts';

/** One held lock. */
export interface LockMessage {
  readonly name: string;
  readonly mode: Mode;
  /** The number of locks that may be held together: 1 if exclusive, Infinity if shared, n for a semaphore. */
  readonly slots: number;
  /** The key of its entry in etcd. With `fencingToken` it identifies the hold, among all that are held at one time. */
  readonly key: string;
  readonly fencingToken: bigint;
  /** The lease of its entry, as a decimal int64. */
  readonly leaseId: string;
}

/** A lock is held from now on. */
export interface HeldMessage extends LockMessage {
  /** How long the caller waited for this lock, in milliseconds. */
  readonly waitMs: number;
}

/** A lock is no longer held, because it was released. etcd may confirm the release later. */
export interface ReleasedMessage extends LockMessage {
  /** How long the lock was held, in milliseconds. Undefined if nobody listened when it was acquired. */
  readonly heldMs: number | undefined;
  /** 'release': by the program. 'garbage-collected': its handle was dropped, so this package released it. */
  readonly cause: 'release' | 'garbage-collected';
}

/** A lock may no longer be held. */
export interface LostMessage extends LockMessage {
  /** How long the lock was held, in milliseconds. Undefined if nobody listened when it was acquired. */
  readonly heldMs: number | undefined;
  readonly reason: LossReason;
  /** The error that `lock.signal` aborts with. */
  readonly error: LockLostError;
}

/** One lease and its renewals. */
export interface RenewalMessage {
  /** The lease, as a decimal int64. */
  readonly leaseId: string;
  readonly ttlMs: number;
  /** The number of locks of this process that are held with the lease. */
  readonly locks: number;
  /** How many renewals in a row have failed. */
  readonly failures: number;
  /** The milliseconds that were left until the local deadline, at which the locks count as lost. */
  readonly remainingMs: number;
}

/** A renewal of a lease failed. It is repeated until the deadline. */
export interface RenewalFailedMessage extends RenewalMessage {
  readonly error: Error;
}

/** A renewal counted after others had failed. */
export type RenewalRecoveredMessage = RenewalMessage;

/** The requests of a locker go to another host from now on. */
export interface HostChangedMessage {
  /** The address of the host until now. */
  readonly from: string;
  readonly to: string;
  /** 'failed': a request to `from` failed. 'returned': `to` is the host that the locker chose at its creation, and is well again. */
  readonly cause: 'failed' | 'returned';
}

/** The call that asks for locks. */
export type AcquireOperation = 'lock' | 'tryLock' | 'lockAll' | 'tryLockAll' | 'lead' | 'web-locks';

/**
 * How a call ended:
 * - `acquired`: with its locks
 * - `busy`: a try without its locks
 * - `timeout`: `timeoutMs` was up
 * - `aborted`: its signal aborted
 * - `closed`: the locker was closed
 * - `failed`: with another error
 */
export type AcquireResult = 'acquired' | 'busy' | 'timeout' | 'aborted' | 'closed' | 'failed';

/** One call that asks for locks. All five channels of `tracing:etcd-locker:acquire` get the same object. */
export interface AcquireMessage {
  readonly operation: AcquireOperation;
  /** The distinct names, in the order of the call. */
  readonly names: readonly string[];
  readonly mode: Mode;
  readonly slots: number;
  /** The time limit of the call in milliseconds. Undefined if there is none. */
  readonly timeoutMs: number | undefined;
  /** Undefined until the call has ended. */
  readonly result?: AcquireResult | undefined;
  /** How long the call took, in milliseconds. Undefined until it has ended. */
  readonly waitMs?: number | undefined;
  /** The locks, if the call acquired them. */
  readonly locks?: readonly LockMessage[] | undefined;
  /** The error that the call rejected with. */
  readonly error?: unknown;
}

/** The message of each channel, by the name of the channel. */
export interface ChannelMessages {
  'tracing:etcd-locker:acquire:start': AcquireMessage;
  'tracing:etcd-locker:acquire:end': AcquireMessage;
  'tracing:etcd-locker:acquire:asyncStart': AcquireMessage;
  'tracing:etcd-locker:acquire:asyncEnd': AcquireMessage;
  'tracing:etcd-locker:acquire:error': AcquireMessage;
  'etcd-locker:held': HeldMessage;
  'etcd-locker:released': ReleasedMessage;
  'etcd-locker:lost': LostMessage;
  'etcd-locker:renewal-failed': RenewalFailedMessage;
  'etcd-locker:renewal-recovered': RenewalRecoveredMessage;
  'etcd-locker:host-changed': HostChangedMessage;
}

/** The name of each channel that publishes a message. */
export type ChannelName = keyof ChannelMessages;
