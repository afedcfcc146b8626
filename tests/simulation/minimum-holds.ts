/**
 * The rule `minimum`: a lock that was released before its `minHoldMs` leaves its entry in etcd until then, and nobody else gets in.
 *
 * A release that resolves while its session lives has moved the entry to a lease of its own. From then on only an outsider or a restore
 * may end the entry before its time. A crash or a close of the process changes nothing.
 */
import { leaseHex } from '../../src/keys.ts';
import type { KeyValue } from '../../src/store/store.ts';
import type { HeldLock } from './calls.ts';
import type { Change } from './etcd-record.ts';
import type { World } from './world.ts';

interface MinimumHold {
  readonly held: HeldLock;
  readonly untilMs: number;
  isMoved: boolean;
  isGone: boolean;
}

/** A clock that runs fast counts a little too much of the time before the release. */
const leastShare = 0.97;
/** A lease has whole seconds. The rest is for the way of its grant. */
const roundingMs = 1_500;

/** Whether the entry was moved from the lease of its session to another one. */
export const isMoved = ({ key, leaseId }: Pick<KeyValue, 'key' | 'leaseId'>): boolean => !key.includes(`/${leaseHex(leaseId)}`);

export class MinimumHolds {
  readonly #world: World;
  /** The last lock with each key. */
  readonly #holds = new Map<string, MinimumHold>();
  #endsAtMs = 0;

  constructor(world: World) {
    this.#world = world;
    world.record.onChange((change) => {
      this.#onChange(change);
    });
  }

  /** When all of them are over, and the leases that they had. */
  get endsAtMs(): number {
    return this.#endsAtMs;
  }

  acquired(held: HeldLock): void {
    const { minHoldMs = 0 } = held.call.options;
    if (minHoldMs === 0) return;
    const untilMs = held.acquiredMs + minHoldMs * leastShare;
    this.#holds.set(held.key, { held, untilMs, isMoved: false, isGone: false });
    this.#endsAtMs = Math.max(this.#endsAtMs, held.acquiredMs + minHoldMs + roundingMs);
  }

  /** The release of the lock has resolved. */
  released(held: HeldLock): void {
    const { record, etcd, scheduler, judge } = this.#world;
    const hold = this.#holds.get(held.key);
    const { machine } = held.call.process;
    const isTooEarly = hold?.held === held && (!hold.isMoved || hold.isGone) && scheduler.nowMs < hold.untilMs;
    const wasAlive =
      machine.now().monotonicMs < held.deadlineMs &&
      machine.clockJumps === held.call.clockJumps &&
      etcd.leaseIds.includes(held.lock.leaseId) &&
      record.outsiderEndedAt(held.key, held.token) === undefined;
    if (isTooEarly && wasAlive) judge.violated('minimum', `${String(held)} was released too early, and its name is not kept`);
  }

  /** etcd went back in time. */
  forget(): void {
    this.#holds.clear();
  }

  #onChange({ events }: Change): void {
    for (const { type, kv } of events) {
      const hold = this.#holds.get(kv.key);
      if (type === 'put') this.#onPut(kv, hold);
      else if (hold !== undefined && !hold.isGone) this.#onDelete(hold);
    }
  }

  #onPut(kv: KeyValue, hold: MinimumHold | undefined): void {
    if (!isMoved(kv)) return;
    if (hold?.held.token === kv.createRevision) hold.isMoved = true;
    // A restore brings back entries that the judge does not know.
    else if (this.#world.faultSchedule.restoredAtMs === undefined)
      this.#world.judge.violated('minimum', `a move to another lease has put ${kv.key}, which is not the released entry`);
  }

  #onDelete(hold: MinimumHold): void {
    const { record, scheduler, judge } = this.#world;
    const { held, untilMs } = hold;
    hold.isGone = true;
    const isEarly = hold.isMoved && scheduler.nowMs < untilMs && record.outsiderEndedAt(held.key, held.token) === undefined;
    const leftMs = (untilMs - scheduler.nowMs).toFixed(1);
    if (isEarly) judge.violated('minimum', `${String(held)} must keep its name for another ${leftMs} ms, but its entry is deleted`);
  }
}
