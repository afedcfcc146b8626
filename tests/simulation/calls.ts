/** What the judge knows of a call, and of the lock that came of it. */
import type { LockLostError } from '../../src/errors.ts';
import type { Lock } from '../../src/lock/lock.ts';
import type { LockOptions } from '../../src/options/options.ts';
import type { LockerProcess } from './locker-process.ts';
import type { CountedSignal } from './signals.ts';

export type CallKind = 'lock' | 'withLock' | 'tryLock' | 'lockAll' | 'tryLockAll';

/** Whether it is for one of several names, which are had together. */
export const isOneOfSeveral = ({ kind }: Pick<Call, 'kind'>): boolean => kind === 'lockAll' || kind === 'tryLockAll';

export interface Call {
  readonly id: string;
  readonly process: LockerProcess;
  readonly kind: CallKind;
  readonly name: string;
  readonly options: LockOptions;
  readonly signal: CountedSignal | undefined;
  /** What its entry bears from the beginning. */
  readonly value: string;
  readonly slots: number;
  /** Whether it lines up in its process, or tries once beside the line. */
  readonly isInLine: boolean;
  readonly startedMs: number;
  readonly startedAwakeMs: number;
  readonly startedMonotonicMs: number;
  readonly leaps: number;
  /** Whether somebody of its own process held or waited when it began. */
  readonly wasBusy: boolean;
}

export class Held {
  readonly call: Call;
  readonly lock: Lock;
  readonly token: bigint;
  readonly acquiredMs: number;
  /** Its first value, then what `setValue` was asked for, in order. */
  readonly values: string[];
  /** Which of the values was confirmed last. */
  confirmed = 0;
  loss: LockLostError | undefined;
  isReleased = false;
  /** At its release, by the monotonic clock. */
  deadlineMs = 0;

  constructor(call: Call, lock: Lock, nowMs: number) {
    this.call = call;
    this.lock = lock;
    this.token = lock.fencingToken;
    this.acquiredMs = nowMs;
    this.values = [call.value];
  }

  get isLive(): boolean {
    return !this.isReleased && this.loss === undefined && !this.call.process.isCrashed;
  }

  toString(): string {
    return `${this.call.id} on ${this.call.name} (token ${String(this.token)})`;
  }
}
