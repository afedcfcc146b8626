/**
 * Keeps the entry of one name after a release. Gives it to the next caller of this process, or back to etcd.
 *
 * The next caller takes the entry in the same tick, without a request. If its value is another one, that is written first. A caller of
 * another kind or with another lease takes the ordinary way: the entry is handed over to its own one, or deleted.
 */
import type { Instant } from '../clock.ts';
import type { ContenderWatch } from '../entry/contender-watch.ts';
import type { Entry } from '../entry/entry.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { LockerContext } from '../session/locker-context.ts';
import type { Caller, HoldingCaller } from './caller.ts';
import type { KeptEntries } from './kept-entries.ts';
import { isSafe, KeptEntry, type KeptEntryOwner } from './kept-entry.ts';

/** The part of a local queue that its keeper uses. */
export interface KeeperQueue {
  readonly name: string;
  /** The first caller without an entry. */
  readonly firstCaller: Caller<LockHandle> | undefined;
  /** Whether other callers have entries, which are behind the kept one. */
  readonly hasAcquisitions: boolean;
  /** The entry is no longer that of a hold. */
  removeHolder(entry: Entry): void;
  hold(entry: Entry, caller: HoldingCaller): LockHandle;
  /** Resolves the first caller with the lock. */
  holdForFirst(entry: Entry, caller: Caller<LockHandle>): void;
  /** Hands the entry over to the next caller, or deletes it. */
  release(entry: Entry): Promise<void>;
  /** Serves the next callers, in the ordinary way if there is no kept entry for them. */
  startAcquisitions(): void;
  onFailure(caller: Caller<LockHandle>, error: unknown, startedAt: Instant): void;
}

export class Keeper implements KeptEntryOwner {
  readonly #context: LockerContext;
  readonly #all: KeptEntries;
  readonly #queue: KeeperQueue;
  /** The entry from its first keeping until it is given up. Callers may hold it in between. */
  #kept: KeptEntry | undefined;

  constructor(context: LockerContext, all: KeptEntries, queue: KeeperQueue) {
    this.#context = context;
    this.#all = all;
    this.#queue = queue;
  }

  get name(): string {
    return this.#queue.name;
  }

  /** Whether there is a kept entry. A caller may hold it meanwhile. */
  get hasEntry(): boolean {
    return this.#kept !== undefined;
  }

  /** Whether the kept entry is reserved for a caller that does not hold it yet. */
  get isReserved(): boolean {
    return this.#kept?.isReserved === true;
  }

  /** Resolves once the caller of the reserved entry has taken it or not. Undefined if it is not reserved. */
  whenDecided(): Promise<void> | undefined {
    return this.#kept?.isReserved === true ? this.#kept.whenDecided() : undefined;
  }

  /** Takes in that a caller holds the entry. */
  onHold(entry: Entry): void {
    if (this.#kept?.entry === entry) this.#kept.onHold();
  }

  contendersOf(entry: object): ContenderWatch | undefined {
    return this.#kept?.entry === entry ? this.#kept.contenders : undefined;
  }

  onSteal(token: bigint): void {
    this.#kept?.entry.onSteal(token);
  }

  /** Keeps the entry of a lock that is released, with the watch behind it if there is one. Returns false if it has to take the ordinary way. */
  keep(entry: Entry, keepMs: number, watch?: ContenderWatch): boolean {
    if (!this.#mayKeep(entry, watch)) {
      watch?.stop();
      if (this.#all.isRecalled(this.name)) {
        entry.onQueueEmpty = () => {
          this.#all.endRecall(this.name);
        };
      }
      return false;
    }
    const kept = (this.#kept ??= new KeptEntry(this.#context, this, entry, watch));
    this.#queue.removeHolder(entry);
    kept.keep(keepMs);
    this.#onFree(kept);
    return true;
  }

  #mayKeep(entry: Entry, watch: ContenderWatch | undefined): boolean {
    if (this.#kept?.isRecalled === true || watch?.isWanted === true) this.#all.noteRecall(this.name);
    // Another caller of this process already has an entry behind this one.
    if (!this.#all.mayKeep(this.name) || this.#queue.hasAcquisitions || !isSafe(entry)) return false;
    // After a theft that its holder does not know of yet, the kept entry is not the released one.
    return this.#kept === undefined || (this.#kept.entry === entry && this.#kept.isWatched);
  }

  /** Serves the next caller with an entry that nobody has, or adds it to those that are kept. */
  #onFree(kept: KeptEntry): void {
    // A call may have had it reserved while the locker closed.
    if (kept.isRecalled || this.#queue.hasAcquisitions || !this.#all.mayKeep(this.name)) {
      this.giveBackKept(kept);
    } else {
      // Before a caller takes it: one who has it too long finds it given back.
      this.#all.add(kept);
      this.#queue.startAcquisitions();
    }
  }

  /** Takes the kept entry for a caller that just came, if its value is right and no other caller waits. */
  takeNow(caller: HoldingCaller): LockHandle | undefined {
    const kept = this.#kept;
    if (kept?.isFor(caller.options) !== true || !kept.entry.hasValue(caller.options.value)) return undefined;
    this.#all.delete(kept);
    return this.#queue.hold(kept.entry, caller);
  }

  /** Reserves the kept entry for a try, and gives back one that the try cannot use. `putBack` or a hold has to follow. */
  reserve(options: ResolvedLockOptions): KeptEntry | undefined {
    const kept = this.#kept;
    if (kept === undefined || kept.isTaken) return undefined;
    if (!kept.isFor(options)) {
      this.giveBackKept(kept);
      return undefined;
    }
    this.#reserve(kept);
    return kept;
  }

  /** Takes in that the caller did not take the entry that was reserved for it. */
  putBack(kept: KeptEntry): void {
    if (this.#kept !== kept || !kept.isReserved) return;
    kept.putBack();
    this.#onFree(kept);
  }

  #reserve(kept: KeptEntry): void {
    kept.reserve();
    this.#all.delete(kept);
  }

  /** Gives the entry to the first caller, or gives it back if that caller cannot use it. */
  serve(): void {
    const kept = this.#kept;
    const caller = this.#queue.firstCaller;
    if (kept === undefined || kept.isTaken || caller === undefined) return;
    if (!kept.isFor(caller.options)) {
      this.giveBackKept(kept);
      return;
    }
    this.#reserve(kept);
    if (kept.entry.hasValue(caller.options.value)) this.#queue.holdForFirst(kept.entry, caller);
    else void this.#writeFor(kept, caller);
  }

  /** The caller stays the first one meanwhile. If it gives up, the next one gets the entry. */
  async #writeFor(kept: KeptEntry, caller: Caller<LockHandle>): Promise<void> {
    const startedAt = this.#context.clock.now();
    try {
      await kept.entry.setValue(caller.options.value);
    } catch (error) {
      this.#queue.onFailure(caller, error, startedAt);
    }
    this.putBack(kept);
  }

  giveBackKept(kept: KeptEntry): void {
    if (this.#kept !== kept) return;
    const { entry, isRecalled } = kept;
    this.forget(entry);
    if (isRecalled) {
      this.#all.noteRecall(this.name);
      entry.onQueueEmpty = () => {
        this.#all.endRecall(this.name);
      };
    }
    // It may have been lost in this tick.
    if (!entry.isHeld) {
      this.#queue.startAcquisitions();
      return;
    }
    // `trackDeletion` logs a refusal.
    this.#queue.release(entry).catch(() => undefined);
    this.#all.trackDeletion(this.name, entry);
  }

  onKeptLost(kept: KeptEntry): void {
    this.forget(kept.entry);
    this.#queue.startAcquisitions();
  }

  onKeptDue(kept: KeptEntry): void {
    this.#all.schedule(kept);
  }

  /** Takes in that the entry is released in the ordinary way, or lost. */
  forget(entry: Entry): void {
    if (this.#kept?.entry !== entry) return;
    this.#all.delete(this.#kept);
    this.#kept.stop();
    this.#kept = undefined;
  }
}
