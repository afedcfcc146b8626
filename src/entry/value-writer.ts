/**
 * Writes the value of an entry: one write at a time, the newest value last.
 *
 * Each write compares the mod revision that the write before it left. Of two writes that compare the same revision, etcd applies one,
 * so a late write never replaces a newer value. A value that was not applied is sent again only if it is still the newest. If etcd has
 * run out of space, a read shows whether it applied the value.
 */
import { backoffMs } from '../backoff.ts';
import { addMs, type Instant, msUntil } from '../clock.ts';
import { deferred } from '../deferred.ts';
import { EtcdRefusedError, EtcdUnavailableError, OutcomeUnknownError } from '../errors.ts';
import type { QueueRange } from '../keys.ts';
import type { Session } from '../session/session.ts';
import type { Context } from '../context.ts';
import type { Committed, KeyValue } from '../store/store.ts';

interface Write {
  readonly value: string;
  readonly until: Instant;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

interface WrittenEntry {
  readonly key: string;
  readonly queue: QueueRange;
  readonly session: Session;
}

/** The entry is gone: it was lost or released. */
export class EntryGoneError extends Error {
  override readonly name = 'EntryGoneError';

  constructor() {
    super('The entry is gone');
  }
}

export class ValueWriter {
  readonly #context: Context;
  readonly #entry: WrittenEntry;
  readonly #checkOwn: (own: KeyValue | undefined) => boolean;
  #modified: bigint;
  #value: string;
  #writes: Write[] = [];
  #isBusy = false;
  #isCertain = true;
  /** Why the last try failed. */
  #reason: unknown;

  /** The entry has `value` since `modRevision`. `checkOwn` gets the key of a refused write. It loses the entry if that is not the entry's. */
  constructor(context: Context, entry: WrittenEntry, value: string, modRevision: bigint, checkOwn: (own: KeyValue | undefined) => boolean) {
    this.#context = context;
    this.#entry = entry;
    this.#value = value;
    this.#modified = modRevision;
    this.#checkOwn = checkOwn;
  }

  /** The value as etcd last confirmed it. */
  get value(): string {
    return this.#value;
  }

  /** False after a write without a response, until the next response: etcd may still apply it. */
  get isCertain(): boolean {
    return this.#isCertain;
  }

  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Sends no more writes and rejects those that wait. */
  stop(): void {
    for (const write of this.#writes.splice(0)) write.reject(new EntryGoneError());
  }

  write(value: string): Promise<void> {
    const { promise, resolve, reject } = deferred();
    const { clock, requestTimeoutMs } = this.#context;
    this.#writes.push({ value, until: addMs(clock.now(), requestTimeoutMs), resolve, reject });
    if (!this.#isBusy) void this.#run();
    return promise;
  }

  async #run(): Promise<void> {
    this.#isBusy = true;
    let refusals = 0;
    for (let failures = 0; this.#writes.length > 0;) {
      const pending = [...this.#writes];
      const newest = pending[pending.length - 1];
      if (newest === undefined) break;
      try {
        if (!(await this.#send(newest.value, msUntil(newest.until, this.#context.clock.now())))) {
          // Another program writes the value all the time.
          if (refusals++ > 0) await this.#entry.session.pause(backoffMs(refusals, { firstMs: 25 }));
          continue;
        }
        refusals = 0;
        this.#settle(pending, (write) => {
          write.resolve();
        });
      } catch (error) {
        failures += 1;
        this.#reason = this.#toReason(error);
        this.#settle(this.#failed(pending, error), (write) => {
          write.reject(this.#reason);
        });
        if (this.#writes.length > 0) await this.#entry.session.pause(backoffMs(failures, { firstMs: 25 }));
      }
    }
    this.#isBusy = false;
  }

  /** Returns whether etcd has `value` now. If not, the next write compares the revision that this one found. */
  async #send(value: string, timeoutMs: number): Promise<boolean> {
    this.#isCertain = false;
    const { succeeded, revision, ranges, refusal } = await this.#commit(value, Math.max(1, timeoutMs));
    this.#isCertain = true;
    this.#reason = undefined;
    const found = ranges[0]?.[0];
    if (!succeeded && !this.#checkOwn(found)) return false;
    this.#modified = succeeded ? revision : (found?.modRevision ?? 0n);
    if (refusal !== undefined) this.#value = found?.value ?? this.#value;
    if (!succeeded && found?.value !== value) {
      if (refusal !== undefined) throw refusal;
      return false;
    }
    this.#value = value;
    return true;
  }

  /** Commits a write. Instead of a refusal for lack of space it returns the refusal, and what etcd has then. */
  async #commit(value: string, timeoutMs: number): Promise<Committed & { readonly refusal?: EtcdRefusedError }> {
    const { store } = this.#context;
    const { key, queue, session } = this.#entry;
    const read = [{ range: { key } }];
    try {
      return await store.commit(
        {
          compare: [{ key, target: 'mod', op: '=', revision: this.#modified }],
          then: [{ put: { key, value, leaseId: session.leaseId } }],
          otherwise: read,
          lane: queue.key,
        },
        { once: true, timeoutMs },
      );
    } catch (error) {
      if (!(error instanceof OutcomeUnknownError && error.cause instanceof EtcdRefusedError)) throw error;
      // etcd has responded: it has applied the write, or never will.
      const found = await store.commit({ compare: [], then: read, otherwise: [], lane: queue.key }, { timeoutMs });
      return { ...found, succeeded: false, refusal: error.cause };
    }
  }

  // Without a response a write goes on until its own time is up. A refusal counts for all pending writes.
  #failed(writes: readonly Write[], error: unknown): readonly Write[] {
    if (!(error instanceof OutcomeUnknownError)) return writes;
    const now = this.#context.clock.now();
    return writes.filter(({ until }) => msUntil(until, now) <= 0);
  }

  #settle(writes: readonly Write[], settle: (write: Write) => void): void {
    this.#writes = this.#writes.filter((write) => !writes.includes(write));
    writes.forEach(settle);
  }

  /** Returns the error for the caller. A try that had no time left says nothing: the failure before it is the reason. */
  #toReason(error: unknown): unknown {
    if (error instanceof OutcomeUnknownError) {
      return error.cause instanceof EtcdRefusedError ? error.cause : new EtcdUnavailableError(this.#context.requestTimeoutMs, error.hosts);
    }
    const saysNothing = error instanceof EtcdUnavailableError && error.hosts.length === 0;
    return saysNothing ? (this.#reason ?? error) : error;
  }
}
