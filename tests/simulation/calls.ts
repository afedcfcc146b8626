/** The judge's view of one call, and of the lock that it returned. */
import type { LockLostError } from '../../src/errors.ts';
import type { Lock } from '../../src/lock/lock.ts';
import type { LockOptions } from '../../src/options/options.ts';
import type { LockerProcess } from './locker-process.ts';
import type { CountedSignal } from './signals.ts';

export type CallKind = 'lock' | 'withLock' | 'tryLock' | 'lockAll' | 'tryLockAll';

/** Whether the call belongs to `lockAll` or `tryLockAll`, which make one call for each of their names. */
export const isPartOfMultiCall = ({ kind }: Pick<Call, 'kind'>): boolean => kind === 'lockAll' || kind === 'tryLockAll';

export interface Call {
  readonly id: string;
  readonly process: LockerProcess;
  readonly kind: CallKind;
  readonly name: string;
  readonly options: LockOptions;
  readonly signal: CountedSignal | undefined;
  /** The value with which its entry is created. */
  readonly value: string;
  readonly slots: number;
  /** Whether it waits in the local queue of its process. A call that tries once does not. */
  readonly usesLocalQueue: boolean;
  readonly startedMs: number;
  readonly startedAwakeMs: number;
  readonly startedMonotonicMs: number;
  readonly clockJumps: number;
  /** Whether another caller of its process held the name or waited for it when the call began. */
  readonly wasNameBusy: boolean;
}

export class HeldLock {
  readonly call: Call;
  readonly lock: Lock;
  readonly key: string;
  readonly token: bigint;
  readonly acquiredMs: number;
  /** The hold before this one of an entry that the process kept in between. */
  readonly before: HeldLock | undefined;
  /** When the call of the first hold of its entry began. */
  readonly tenureSinceMs: number;
  /** The first value, then each value given to `setValue`, in order. */
  readonly values: string[];
  /** The index of the value that etcd confirmed last. */
  confirmedIndex = 0;
  loss: LockLostError | undefined;
  isReleased = false;
  /** The deadline of its session by the monotonic clock, read at the release. */
  deadlineMs = 0;

  constructor(call: Call, lock: Lock, nowMs: number, before?: HeldLock) {
    this.call = call;
    this.lock = lock;
    this.key = lock.key;
    this.token = lock.fencingToken;
    this.acquiredMs = nowMs;
    this.values = [call.value];
    this.before = before;
    this.tenureSinceMs = before?.tenureSinceMs ?? call.startedMs;
  }

  get isLive(): boolean {
    return !this.isReleased && this.loss === undefined && !this.call.process.isCrashed;
  }

  toString(): string {
    return `${this.call.id} on ${this.call.name} (token ${String(this.token)})`;
  }
}
