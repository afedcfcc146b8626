/** The part of the local queue that an acquisition uses. */
import type { Instant } from '../clock.ts';
import type { Entry } from '../entry/entry.ts';
import type { QueueRange } from '../keys.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { Caller } from './caller.ts';

export interface AcquisitionQueue<Acquisition> {
  readonly range: QueueRange;
  /** Those of the name in this process, in the order of their callers. */
  readonly acquisitions: Iterable<Acquisition>;
  readonly outage: { onResponse(): void };
  /** Gives the acquisition of a caller that gave up to the next caller, if that one can use it. */
  inheritNextCaller(acquisition: Acquisition): void;
  /** Starts the creation of the entry, if no earlier caller still needs an entry. */
  create(acquisition: Acquisition): void;
  /** Looks for the entry, and in the same request for others that need a look. */
  look(acquisition: Acquisition): Promise<void>;
  /** etcd has reported an obstacle of the entry. */
  onObstructed(): void;
  /** The acquisition no longer delays the creations of later callers. */
  onTurnOver(): void;
  /** The entry is admitted. Gives locks to the acquisitions that can hold, in their order. */
  grant(): void;
  /** The caller gets its lock, and may release it in the same tick. */
  onAdmitted(acquisition: Acquisition, entry: Entry, caller: Caller<LockHandle>): void;
  /** The acquisition ended without a lock. */
  onEnded(acquisition: Acquisition): void;
  /** A step that began at `startedAt` failed. */
  onFailure(caller: Caller<LockHandle>, error: unknown, startedAt: Instant): void;
  /** Returns how long a step for the caller may take. */
  timeLeftMs(caller: Caller<LockHandle>): number;
}
