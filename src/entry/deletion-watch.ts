/**
 * One watch of a waiter for deletions, and what its confirmation proves.
 *
 * A deletion is a fact whenever it is reported. That no deletion was reported is a fact only since the watch was confirmed. So a watch
 * *covers* a look in two cases: it was confirmed at the look's revision or before, or the look was sent after the confirmation. The watch starts
 * at the present revision: with a start revision in the past, etcd delivers events in steps of 100 ms.
 */
import type { Store, WatchEvent, WatchRequest } from '../store/store.ts';

interface DeletionListener {
  /** The watch is confirmed at `revision`. Not `isOrdinary`: after a break, or at an earlier revision than the process knew. */
  created(revision: bigint, isOrdinary: boolean): void;
  broken(): void;
  deleted(events: readonly WatchEvent[]): void;
}

export class DeletionWatch {
  readonly stop: () => void;
  /** An identity of the present confirmation. Undefined while the watch is not confirmed. */
  confirmation: object | undefined;
  #createdAt = 0n;
  #isOrdinary = true;

  constructor(
    store: Store,
    request: Omit<WatchRequest, 'deletesOnly' | 'knownRevision'>,
    knownRevision: bigint,
    listener: DeletionListener,
  ) {
    let isAgain = false;
    this.stop = store.watch(
      { ...request, deletesOnly: true, knownRevision },
      {
        created: (revision) => {
          // A proxy may send 0, and a restored etcd has gone back.
          this.#isOrdinary = !isAgain && revision >= knownRevision;
          isAgain = true;
          this.#createdAt = revision;
          this.confirmation = {};
          listener.created(revision, this.#isOrdinary);
        },
        broken: () => {
          isAgain = true;
          this.confirmation = undefined;
          listener.broken();
        },
        events: (events) => {
          listener.deleted(events);
        },
      },
    );
  }

  /** Whether it reports every deletion after a look at `revision`. `known` is the confirmation when the look was sent, if there was one. */
  covers(revision: bigint, known?: object): boolean {
    if (this.confirmation === undefined) return false;
    return this.confirmation === known || (this.#isOrdinary && this.#createdAt <= revision);
  }
}
