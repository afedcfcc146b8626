/** Counts of the calls, results and faults of one run or of several. */
import { isLockerError, type LossReason } from '../../src/errors.ts';

export class Figures {
  locks = 0;
  /** The locks that took an entry which their process had kept. */
  kept = 0;
  /** The locks whose `wanted` has aborted. */
  wanted = 0;
  releases = 0;
  nulls = 0;
  states = 0;
  steps = 0;
  virtualMs = 0;
  longestWaitMs = 0;
  readonly losses = new Map<LossReason, number>();
  readonly errors = new Map<string, number>();
  readonly faults = new Map<string, number>();

  acquired(waitedMs: number): void {
    this.locks += 1;
    this.longestWaitMs = Math.max(this.longestWaitMs, waitedMs);
  }

  released(): void {
    this.releases += 1;
  }

  gotNull(): void {
    this.nulls += 1;
  }

  stateSeen(): void {
    this.states += 1;
  }

  lost(reason: LossReason): void {
    add(this.losses, reason, 1);
  }

  failed(error: unknown): void {
    add(this.errors, isLockerError(error) ? error.code : 'aborted', 1);
  }

  add(other: Figures): void {
    this.locks += other.locks;
    this.kept += other.kept;
    this.wanted += other.wanted;
    this.releases += other.releases;
    this.nulls += other.nulls;
    this.states += other.states;
    this.steps += other.steps;
    this.virtualMs += other.virtualMs;
    this.longestWaitMs = Math.max(this.longestWaitMs, other.longestWaitMs);
    for (const [reason, count] of other.losses) add(this.losses, reason, count);
    for (const [code, count] of other.errors) add(this.errors, code, count);
    for (const [kind, count] of other.faults) add(this.faults, kind, count);
  }
}

function add<K>(counts: Map<K, number>, key: K, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}
