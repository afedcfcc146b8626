/**
 * The kept entries of one locker: their number, the end of their time, and the names that others want.
 *
 * Each of them costs the server a watch and a key. So only those that were used last are kept, up to a limit. One timer serves all.
 */
import { type Instant, keepAlive, msUntil, waitAtMost } from '../clock.ts';
import { silentLogger } from '../context.ts';
import type { Entry } from '../entry/entry.ts';
import type { LockerContext } from '../session/locker-context.ts';
import { quote } from '../text.ts';
import type { KeptEntry } from './kept-entry.ts';

/** The most kept entries of a locker, and the most names that it knows to be wanted. */
const maxCount = 1_000;

export class KeptEntries {
  readonly #context: LockerContext;
  /** Those that no caller has. The one that was used last is the last one. */
  readonly #kept = new Set<KeptEntry>();
  /** The names that were recalled, and have not been released with nobody behind since. */
  readonly #recalled = new Set<string>();
  /** The deletions that are under way. */
  readonly #givenBack = new Map<string, Promise<void>>();
  #timer: { readonly at: Instant; readonly cancel: () => void } | undefined;
  #isClosed = false;

  constructor(context: LockerContext) {
    this.#context = context;
  }

  /** Whether a lock on the name may be kept at its release. */
  mayKeep(name: string): boolean {
    return !this.#isClosed && !this.#recalled.has(name);
  }

  isRecalled(name: string): boolean {
    return this.#recalled.has(name);
  }

  /** Takes in that others want the name. Forgetting it costs the next one of them two round trips. */
  noteRecall(name: string): void {
    this.#recalled.delete(name);
    this.#recalled.add(name);
    for (const oldest of this.#recalled) {
      if (this.#recalled.size <= maxCount) break;
      this.#recalled.delete(oldest);
    }
  }

  /** Takes in that the name was released with nobody behind. */
  endRecall(name: string): void {
    this.#recalled.delete(name);
  }

  /** Adds an entry that was used now. If there are too many, it gives back the one that was used longest ago. */
  add(kept: KeptEntry): void {
    this.#kept.delete(kept);
    this.#kept.add(kept);
    for (const oldest of this.#kept) {
      if (this.#kept.size <= maxCount) break;
      oldest.owner.giveBackKept(oldest);
    }
    this.schedule(kept);
  }

  delete(kept: KeptEntry): void {
    // The timer stays: a timer for each use would cost more than the use.
    this.#kept.delete(kept);
  }

  /** Takes in that an entry may be due earlier than before. */
  schedule({ dueAt }: KeptEntry): void {
    if (this.#isClosed || (this.#timer !== undefined && msUntil(dueAt, this.#timer.at) >= 0)) return;
    this.#timer?.cancel();
    const { clock } = this.#context;
    const cancel = clock.setTimer(Math.max(0, msUntil(dueAt, clock.now())), () => {
      this.#timer = undefined;
      this.#giveBackDue();
    });
    this.#timer = { at: dueAt, cancel };
  }

  #giveBackDue(): void {
    const now = this.#context.clock.now();
    let next: KeptEntry | undefined;
    for (const kept of [...this.#kept]) {
      if (msUntil(kept.dueAt, now) <= 0) kept.owner.giveBackKept(kept);
      else if (next === undefined || msUntil(kept.dueAt, next.dueAt) < 0) next = kept;
    }
    if (next !== undefined) this.schedule(next);
  }

  /** Takes in that the entry of a name is being deleted. Keeps the process alive until etcd has confirmed it. */
  trackDeletion(name: string, entry: Entry): void {
    const { clock, requestTimeoutMs, logger } = this.#context;
    if (logger !== silentLogger) logger.debug(`etcd-locker: gives back kept lock ${quote(name)} (token ${String(entry.token)})`);
    const deleted = entry.whenReleased().catch((error: unknown) => {
      logger.warn(`etcd-locker: cannot delete ${entry.key}, it ends with its lease: ${String(error)}`);
    });
    void keepAlive(clock, () => waitAtMost(clock, requestTimeoutMs, deleted));
    const tracked = deleted.finally(() => {
      if (this.#givenBack.get(name) === tracked) this.#givenBack.delete(name);
    });
    this.#givenBack.set(name, tracked);
  }

  /** Resolves once the entries of the names that are given back are deleted. Undefined if there are none. */
  whenDeleted(names: readonly string[]): Promise<unknown> | undefined {
    if (this.#givenBack.size === 0) return undefined;
    const pending = names.flatMap((name) => this.#givenBack.get(name) ?? []);
    return pending.length === 0 ? undefined : Promise.all(pending);
  }

  /** Keeps nothing from now on. Gives back what is kept, unless the leases are about to be revoked. */
  close(isDraining: boolean): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    if (!isDraining) return;
    for (const kept of [...this.#kept]) kept.owner.giveBackKept(kept);
  }
}
