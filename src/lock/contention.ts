/**
 * Notices that others wait for a held lock: what `wanted` reports.
 *
 * Entries behind it are seen by a watch on the queue. Exclusive callers of this process have no entry of their own, so the local queue
 * reports them. It begins at the first read of `wanted`, and ends with the hold: before and after that it costs nothing.
 */
import type { Context } from '../context.ts';
import { type ContendedEntry, ContenderWatch } from '../entry/contender-watch.ts';
import { runInMicrotask } from '../microtask.ts';

/** The callers of one name in this process. */
export interface LocalCallers {
  /** Has the watch behind a held entry that was kept before. It goes on after the hold. */
  readonly keeper: { contendersOf(entry: object): ContenderWatch | undefined } | undefined;
  waiters(): Iterable<{ readonly caller: { readonly hasAcquisition: boolean } }>;
  /** Called when a caller joins that has to wait without an entry. Undefined while no hold wants to know. */
  callerListeners: Set<() => void> | undefined;
}

export class Contention {
  readonly #watch: ContenderWatch;
  readonly #unlisten: () => void;
  readonly #callers: LocalCallers;
  readonly #onWanted: () => void;
  /** Whether the watch ends with the hold. */
  #isOwn: boolean;
  #isWanted = false;
  #isOver = false;

  /** Begins. `onWanted` is called at most once, in a microtask of its own, because it runs code of the user. */
  constructor(context: Context, entry: ContendedEntry, callers: LocalCallers, onWanted: () => void) {
    this.#callers = callers;
    this.#onWanted = onWanted;
    const shared = callers.keeper?.contendersOf(entry);
    this.#isOwn = shared === undefined;
    this.#watch = shared ?? new ContenderWatch(context, entry);
    this.#unlisten = this.#watch.listen({
      onChange: () => {
        if (this.#watch.isWanted) this.#markWanted();
      },
    });
    if (hasCaller(callers) || this.#watch.isWanted) {
      this.#isWanted = true;
      this.#unlisten();
      return;
    }
    (callers.callerListeners ??= new Set()).add(this.#markWanted);
    this.#watch.start();
  }

  get isWanted(): boolean {
    return this.#isWanted;
  }

  /** Returns the watch, so that it may go on after the hold. Undefined if it belongs to another part, or has ended without a contender. */
  takeWatch(): ContenderWatch | undefined {
    const isOfUse = this.#isOwn && (this.#watch.isWanted || !this.#isWanted);
    if (isOfUse) this.#isOwn = false;
    return isOfUse ? this.#watch : undefined;
  }

  /** Ends, with the hold. `onWanted` is not called any more, also if that was due. */
  stop(): void {
    this.#isOver = true;
    this.#stopListening();
  }

  readonly #markWanted = (): void => {
    if (this.#isWanted || this.#isOver) return;
    this.#isWanted = true;
    this.#stopListening();
    runInMicrotask(() => {
      if (!this.#isOver) this.#onWanted();
    });
  };

  #stopListening(): void {
    this.#unlisten();
    if (this.#isOwn) this.#watch.stop();
    this.#callers.callerListeners?.delete(this.#markWanted);
  }
}

/** Whether a caller waits without an entry. The others are entries of the queue, which the watch sees. */
function hasCaller(callers: LocalCallers): boolean {
  for (const { caller } of callers.waiters()) if (!caller.hasAcquisition) return true;
  return false;
}
