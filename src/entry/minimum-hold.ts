/**
 * The minimum hold (`minHoldMs`): a release before its end leaves the name taken until then, even if this process ends.
 *
 * The release moves the entry from the lease of its session to a lease of its own, which nobody renews. That lease has the whole seconds
 * that are left, so etcd frees the name without this process. The create revision stays, and with it the place at the head of the queue.
 * The put compares the create revision, so that a late one changes no later entry. docs/protocol.md, "Minimum hold", has the proof.
 */
import type { Clock } from '../clock.ts';
import { newLeaseId } from '../session/lease-id.ts';
import { LeaseNotFoundError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import { buildMove, type MovedEntry } from './transactions.ts';

export class MinimumHold {
  readonly #clock: Clock;
  readonly #untilMs: number;
  #lease: { readonly id: string; readonly grantedMs: number } | undefined;

  /** Begins now, and lasts for `minHoldMs`. */
  constructor(clock: Clock, minHoldMs: number) {
    this.#clock = clock;
    this.#untilMs = clock.now().monotonicMs + minHoldMs;
  }

  /** Whether a release would come too early. */
  get isPending(): boolean {
    return this.#remainingMs > 0;
  }

  // The monotonic clock alone: a wall clock that is set forward must not free the name early, and one set back must not keep it.
  get #remainingMs(): number {
    return this.#untilMs - this.#clock.now().monotonicMs;
  }

  /**
   * Sends the grant and the put once. Returns for how long etcd keeps the key from now on, at most; 0 if the key is gone.
   * @throws {LeaseNotFoundError} the lease of the entry ended before the put; a repetition grants another one
   */
  async moveEntry(store: Store, entry: MovedEntry): Promise<number> {
    // Each grant has the time that is left at its sending. One without a response must not make the hold longer.
    this.#lease ??= await grantLease(store, Math.max(1, Math.ceil(this.#remainingMs / 1_000)));
    const { id, grantedMs } = this.#lease;
    try {
      const { succeeded } = await store.commit(buildMove(entry, id));
      return succeeded ? grantedMs : 0;
    } catch (error) {
      if (error instanceof LeaseNotFoundError) this.#lease = undefined;
      throw error;
    }
  }
}

async function grantLease(store: Store, ttlSeconds: number): Promise<{ readonly id: string; readonly grantedMs: number }> {
  const id = newLeaseId();
  return { id, grantedMs: (await store.grant(id, ttlSeconds)) * 1_000 };
}
