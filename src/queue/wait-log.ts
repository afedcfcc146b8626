/**
 * Warns of calls that wait for long, once for each, and at once of a call that waits for a lock of its own async context.
 *
 * A wait is long after 10 s, or after a third of `timeoutMs` if that is less. The wait of a candidate of `lead()` is never long.
 *
 * A locker without a logger does not use this file. All waiting callers share one timer.
 */
import type { Clock } from '../clock.ts';
import { type Context, silentLogger } from '../context.ts';
import type { Hold } from '../lock/hold.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import { findOwnHolds } from '../lock/own-holds.ts';
import { quote } from '../text.ts';
import type { Caller } from './caller.ts';

const longWaitMs = 10_000;
/** The shortest time between two checks. It limits the lines about a name that thousands of callers wait for. */
const pauseMs = 1_000;
/** The most lines of one check. */
const maxLines = 10;

/** The part of a local queue that a line of the log describes. */
interface WaitedQueue {
  readonly name: string;
  readonly heldEntries: readonly { readonly token: bigint }[];
  isBusyFor(caller: WaitingCaller): boolean;
}

type WaitingCaller = Caller<LockHandle>;

interface Wait {
  readonly queue: WaitedQueue;
  readonly caller: WaitingCaller;
  dueAtMs: number;
}

export class WaitLog {
  readonly #context: Context;
  readonly #clock: Clock;
  readonly #waits = new Set<Wait>();
  #timer: { readonly atMs: number; readonly cancel: () => void } | undefined;

  constructor(context: Context) {
    this.#context = context;
    this.#clock = context.clock;
  }

  /** Takes in a caller that is about to join `queue`. */
  add(queue: WaitedQueue, caller: WaitingCaller): void {
    if (this.#context.logger === silentLogger) return;
    const { timeoutMs = Infinity, slots } = caller.options;
    // The caller may become busy in another async context, so its own one is read now.
    const own = findOwnHolds(this.#context, queue.name);
    if (own.length > 0) {
      caller.onBusy = () => {
        const [hold] = own;
        if (hold !== undefined && isBlockedBy(own, slots)) this.#warnOfOwnHold(hold);
      };
    }
    if (caller.options.isCandidate === true) return;
    const wait: Wait = { queue, caller, dueAtMs: caller.joinedAt.monotonicMs + Math.min(longWaitMs, timeoutMs / 3) };
    this.#waits.add(wait);
    caller.onSettled(() => this.#waits.delete(wait));
    this.#schedule(wait.dueAtMs);
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #schedule(atMs: number): void {
    if (this.#timer !== undefined && this.#timer.atMs <= atMs) return;
    this.#timer?.cancel();
    const cancel = this.#clock.setTimer(Math.max(1, atMs - this.#clock.now().monotonicMs), () => {
      this.#timer = undefined;
      this.#check();
    });
    this.#timer = { atMs, cancel };
  }

  #check(): void {
    const nowMs = this.#clock.now().monotonicMs;
    const byQueue = new Map<WaitedQueue, Wait[]>();
    let nextMs = Infinity;
    for (const wait of this.#waits) {
      const isDue = wait.dueAtMs <= nowMs;
      if (isDue && wait.queue.isBusyFor(wait.caller)) {
        this.#waits.delete(wait);
        const due = byQueue.get(wait.queue);
        if (due === undefined) byQueue.set(wait.queue, [wait]);
        else due.push(wait);
      } else {
        // etcd has not responded. The outage log says so, and the caller may have to wait for others later.
        if (isDue) wait.dueAtMs = nowMs + longWaitMs;
        nextMs = Math.min(nextMs, wait.dueAtMs);
      }
    }
    const lines = [...byQueue].slice(0, maxLines);
    for (const [queue, waits] of lines) this.#warn(queue, waits, nowMs);
    const more = byQueue.size - lines.length;
    if (more > 0) this.#context.logger.warn(`etcd-locker: still waiting for locks on ${String(more)} more names`);
    if (nextMs !== Infinity) this.#schedule(Math.max(nextMs, nowMs + pauseMs));
  }

  /** Waits of one name that are due together share a line. */
  #warn(queue: WaitedQueue, [first, ...others]: readonly Wait[], nowMs: number): void {
    if (first === undefined) return;
    const waitedMs = String(Math.round(nowMs - first.caller.joinedAt.monotonicMs));
    const more = others.length === 0 ? '' : ` (and ${String(others.length)} calls that came later)`;
    this.#context.logger.warn(
      `etcd-locker: still waiting for lock ${quote(queue.name)} after ${waitedMs} ms${more}: ${describe(queue, first.caller)}`,
    );
  }

  #warnOfOwnHold({ name, entry }: Hold): void {
    this.#context.logger.warn(
      `etcd-locker: a call waits for lock ${quote(name)}, which the function that it was called in holds itself (token ${String(entry.token)}); ` +
        'if that function awaits the call, neither ends',
    );
  }
}

/** Whether a caller with `slots` that is known to wait does so because of holds of its own. All of them are of one kind. */
function isBlockedBy(own: readonly Hold[], slots: number): boolean {
  const held = own.filter(({ isHeld }) => isHeld);
  const ofKind = held.filter(({ entry }) => entry.slots === slots).length;
  // A shared caller only waits behind another kind, and that one waits for the hold.
  return ofKind < held.length || (ofKind > 0 && (slots === Infinity || ofKind >= slots));
}

function describe({ heldEntries }: WaitedQueue, { hasAcquisition }: WaitingCaller): string {
  const tokens = heldEntries.map(({ token }) => String(token));
  if (tokens.length > 0) return `this process holds it (token ${tokens.join(', ')})`;
  return hasAcquisition ? 'another process holds it or waits before this one' : 'other callers of this process wait before this one';
}
