/**
 * The release of an entry, which is retried until etcd accepts it or the session ends, and the promise of it.
 *
 * A release deletes the key. Before the end of a minimum hold it moves the key to another lease instead. Only this one goes on for a
 * while when the session has ended: the key is in etcd until the lease is over.
 */
import { backoffMs } from '../backoff.ts';
import { addMs, msUntil } from '../clock.ts';
import type { Context } from '../context.ts';
import { deferred } from '../deferred.ts';
import { EtcdAuthError, EtcdRefusedError } from '../errors.ts';
import { Pauses } from '../pauses.ts';
import type { Session } from '../session/session.ts';
import type { MinimumHold } from './minimum-hold.ts';
import type { Store } from '../store/store.ts';
import { buildDeletion, buildDeletionWithRead, type MovedEntry } from './transactions.ts';

interface ReleasedEntry extends MovedEntry {
  readonly kind: string;
  readonly session: Session;
  readonly onQueueEmpty: (() => void) | undefined;
  confirmReleased(): void;
}

export class Release {
  readonly #minimumHold: MinimumHold | undefined;
  readonly #done = deferred();
  #isDone = false;
  #keptMs = 0;
  #move: Promise<void> | undefined;
  #pauses: Pauses | undefined;

  constructor(minimumHold: MinimumHold | undefined) {
    this.#minimumHold = minimumHold;
    // Not every release has a caller that awaits it.
    this.#done.promise.catch(() => undefined);
  }

  /** Resolves once etcd has confirmed the release, or the lease is over; rejects if etcd refuses. */
  get promise(): Promise<void> {
    return this.#done.promise;
  }

  /** For how long the key may stay in etcd after the release, in milliseconds. */
  get keptMs(): number {
    return this.#keptMs;
  }

  /** Settles when the move to another lease has ended. A revocation before that would delete the key. Undefined without a move. */
  get move(): Promise<void> | undefined {
    return this.#move;
  }

  /**
   * Releases the key. The first refusal rejects the promise, and the release goes on. If etcd is corrupt it does not: only the end of the
   * lease frees the key and its reservation then.
   */
  send(context: Context, entry: ReleasedEntry): void {
    const sending = this.#send(context, entry);
    if (this.#minimumHold?.isPending === true) this.#move = sending;
  }

  async #send(context: Context, entry: ReleasedEntry): Promise<void> {
    const isWanted = (): boolean => entry.kind === 'releasing';
    const attempt = (): Promise<void> =>
      this.#attempt(context, entry).catch((error: unknown) => {
        if (error instanceof EtcdRefusedError || error instanceof EtcdAuthError) this.#done.reject(error);
        throw error;
      });
    try {
      if ((await entry.session.retry(isWanted, attempt)) || (await this.#moveAfterEnd(context, attempt))) entry.confirmReleased();
    } catch (error) {
      this.#done.reject(error);
    }
  }

  async #attempt({ store, requestTimeoutMs }: Context, entry: ReleasedEntry): Promise<void> {
    if (this.#minimumHold?.isPending !== true) {
      await this.#delete(store, entry);
      return;
    }
    const grantedMs = await this.#minimumHold.moveEntry(store, entry);
    // A new leader of etcd gives each lease its whole TTL again.
    if (grantedMs > 0) this.#keptMs = 2 * grantedMs + requestTimeoutMs;
  }

  async #delete(store: Store, entry: ReleasedEntry): Promise<void> {
    if (entry.onQueueEmpty === undefined) {
      await store.commit(buildDeletion(entry, entry.token));
      return;
    }
    const { succeeded, ranges } = await store.commit(buildDeletionWithRead(entry, entry.token));
    if (succeeded && ranges[0]?.length === 0) entry.onQueueEmpty();
  }

  /** Goes on with the move for `requestTimeoutMs` after the end of the session, which is as long as `close()` may take. */
  async #moveAfterEnd({ clock, requestTimeoutMs }: Context, attempt: () => Promise<void>): Promise<boolean> {
    const pauses = (this.#pauses = new Pauses(clock));
    const until = addMs(clock.now(), requestTimeoutMs);
    const leftMs = (): number => msUntil(until, clock.now());
    for (let failures = 1; !this.#isDone && this.#minimumHold?.isPending === true && leftMs() > 0; failures += 1) {
      try {
        await attempt();
        return true;
      } catch {
        await pauses.wait(Math.max(0, Math.min(backoffMs(failures), leftMs())));
      }
    }
    return false;
  }

  confirm(): void {
    this.#isDone = true;
    this.#pauses?.end();
    this.#done.resolve();
  }

  /** Takes in that the session ended. The response may still come before the end of the lease. */
  onSessionEnd(session: Session): void {
    void session.whenEntriesGone().then(() => {
      this.confirm();
    });
  }
}
