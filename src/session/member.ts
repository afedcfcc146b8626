/** What a session has to know of the callers and the entries that use it. */
import type { Instant } from '../clock.ts';
import type { LossReason } from '../errors.ts';
import type { ResolvedLockOptions } from '../options/options.ts';

/** The lease that a caller asks for. */
export type LeaseWanted = Pick<ResolvedLockOptions, 'ttlSeconds' | 'lease'>;

/** The part of an entry that its session uses. */
export interface Member {
  readonly key: string;
  readonly isHeld: boolean;
  /** Confirmed by etcd, and without a write under way. */
  readonly isSettled: boolean;
  /** Reads the entry linearizably, and loses it if it is gone or no longer belongs to the lease. */
  verify(): Promise<void>;
  /** Counts the entry as gone. `cause` is why, as far as that is known. */
  lose(reason: LossReason, cause?: Error): void;
  /** The session takes no new entries, or no retry can help its renewals: a waiter moves to another session, or rejects. */
  onSessionSealed(): void;
  /** The lease is about to be revoked. Returns the move to another lease that is under way: a revocation would delete the key. */
  beforeRevocation(reason: LossReason): Promise<void> | undefined;
  /** Looks again if a slow look is due. */
  tick(now: Instant): void;
}
