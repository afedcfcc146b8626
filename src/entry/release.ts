/** The release of an entry: a delete that is retried until etcd accepts it or the session ends, and the promise of it. */
import type { Context } from '../context.ts';
import { deferred } from '../deferred.ts';
import { EtcdRefusedError } from '../errors.ts';
import type { QueueRange } from '../keys.ts';
import type { Session } from '../session/session.ts';
import { buildDeletion } from './transactions.ts';

interface ReleasedEntry {
  readonly kind: string;
  readonly queue: QueueRange;
  readonly key: string;
  readonly slots: number;
  readonly token: bigint;
  readonly session: Session;
  confirmReleased(): void;
}

export class Release {
  readonly #done = deferred();

  constructor() {
    // Not every release has a caller that awaits it.
    this.#done.promise.catch(() => undefined);
  }

  /** Resolves once etcd has confirmed the delete, or the lease is over; rejects if etcd refuses. */
  get promise(): Promise<void> {
    return this.#done.promise;
  }

  /**
   * Deletes the key. The first refusal rejects the promise, and the delete goes on. A refusal that no retry helps leaves the reservation
   * in the session: only the end of the lease frees the key then.
   */
  async send({ store }: Context, entry: ReleasedEntry): Promise<void> {
    const isWanted = (): boolean => entry.kind === 'releasing';
    const attempt = async (): Promise<void> => {
      try {
        await store.commit(buildDeletion(entry, entry.token));
      } catch (error) {
        if (error instanceof EtcdRefusedError) this.#done.reject(error);
        throw error;
      }
    };
    try {
      if (await entry.session.retry(isWanted, attempt)) entry.confirmReleased();
    } catch (error) {
      this.#done.reject(error);
    }
  }

  confirm(): void {
    this.#done.resolve();
  }

  /** Takes in that the session ended. The response to the delete may still come before the end of the lease. */
  onSessionEnd(session: Session): void {
    void session.whenEntriesGone().then(this.#done.resolve);
  }
}
