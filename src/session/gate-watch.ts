/**
 * The watch on a session's own gate. It reports what a beat would notice up to a third of the TTL later.
 *
 * - The gate is deleted: the lease is gone, and the session ends at once.
 * - Another program has put the gate: that calls for an audit, because the program may have changed entries of the lease too.
 * - The watch begins again after a break: etcd may have been restored meanwhile, and a beat finds out.
 *
 * The beat stands behind this watch. So the watch needs no liveness checks, and a lease that is not renewed has none.
 */
import type { Context } from '../context.ts';
import type { WatchEvent } from '../store/store.ts';

/** The part of a session that its gate watch uses. */
interface WatchedSession {
  readonly gate: {
    readonly key: string;
    onDeleted(revision: bigint): void;
    isForeignPut(revision: bigint): Promise<boolean>;
  };
  readonly audit: { run(): Promise<void> };
}

export class GateWatch {
  readonly #context: Context;
  readonly #session: WatchedSession;
  readonly #beat: () => void;
  #stop: (() => void) | undefined;

  constructor(context: Context, session: WatchedSession, beat: () => void) {
    this.#context = context;
    this.#session = session;
    this.#beat = beat;
  }

  start(): void {
    let isAgain = false;
    this.#stop ??= this.#context.store.watch(
      { key: this.#session.gate.key, isBackground: true },
      {
        created: () => {
          if (isAgain) this.#beat();
          isAgain = true;
        },
        events: (events) => {
          for (const event of events) this.#onEvent(event);
        },
      },
    );
  }

  stop(): void {
    this.#stop?.();
  }

  #onEvent({ type, kv: { modRevision } }: WatchEvent): void {
    const { gate } = this.#session;
    if (type === 'delete') gate.onDeleted(modRevision);
    else void this.#onPut(modRevision);
  }

  async #onPut(revision: bigint): Promise<void> {
    if (await this.#session.gate.isForeignPut(revision)) await this.#session.audit.run();
  }
}
