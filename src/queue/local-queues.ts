/** The lines of callers of one locker, one for each name that somebody of this process wants or has. */
import { LocalQueue } from './local-queue.ts';
import { Caller } from './caller.ts';
import { deferred } from '../deferred.ts';
import type { Entry } from '../entry/entry.ts';
import { LockTimeoutError } from '../errors.ts';
import { queueRange } from '../keys.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { LockerContext } from '../session/locker-context.ts';
import { type Manners, tryAcquire } from './try-acquire.ts';
import { readHolder } from '../states/state.ts';

export class LocalQueues {
  readonly #context: LockerContext;
  readonly #queues = new Map<string, LocalQueue>();
  readonly #tries = new Set<Caller<LockHandle[] | null>>();

  constructor(shared: LockerContext) {
    this.#context = shared;
  }

  /**
   * Waits its turn; the caller's time is `asked.timeoutMs`, of `totalMs` that an error tells.
   * @throws {LockTimeoutError} the time is up
   */
  async lock(name: string, asked: ResolvedLockOptions, totalMs = asked.timeoutMs): Promise<LockHandle> {
    const onTimeout = async (): Promise<never> => {
      throw new LockTimeoutError(name, totalMs ?? 0, await this.#holderOf(name));
    };
    if (asked.timeoutMs === 0) return (await this.tryLock([name], asked))?.[0] ?? onTimeout();
    const caller = new Caller<LockHandle>(this.#context.clock, asked, onTimeout);
    this.#queueOf(name).join(caller);
    return caller.promise;
  }

  /** All the locks at once, or null. */
  async tryLock(names: readonly string[], asked: ResolvedLockOptions): Promise<LockHandle[] | null> {
    if (names.some((name) => this.#queues.get(name)?.isTaken(asked.slots) === true)) return null;
    return this.#tryAs('polite', names, asked);
  }

  /** Takes the lock from whoever has it, before all who wait: their entries are deleted in the step that creates this one. */
  async steal(name: string, asked: ResolvedLockOptions): Promise<LockHandle> {
    const [lock] = (await this.#tryAs('steal', [name], asked)) ?? [];
    if (lock === undefined) throw new TypeError('Cannot steal: the try has ended without a lock');
    return lock;
  }

  #tryAs(manners: Manners, names: readonly string[], asked: ResolvedLockOptions): Promise<LockHandle[] | null> {
    const caller = new Caller<LockHandle[] | null>(this.#context.clock, { ...asked, timeoutMs: undefined }, () => null);
    void this.#try(manners, names, caller);
    return caller.promise;
  }

  async #try(manners: Manners, names: readonly string[], caller: Caller<LockHandle[] | null>): Promise<void> {
    const { options: asked } = caller;
    const queues = names.map((name) => queueRange(this.#context.prefix, name));
    this.#tries.add(caller);
    try {
      const onWon = (entries: readonly Entry[]): void => {
        // In the order of the names.
        if (manners === 'steal') entries.forEach(({ token }, index) => this.#queues.get(names[index] ?? '')?.loseStolen(token));
        caller.resolve(entries.map((entry, index) => this.#queueOf(names[index] ?? '').hold(entry, asked)));
        if (asked.lease !== undefined) this.#context.sessions.endRenewal(asked.lease);
      };
      const isWon = await tryAcquire(this.#context, queues, caller, onWon, manners);
      if (!isWon) caller.resolve(null);
    } catch (error) {
      caller.reject(error);
    } finally {
      this.#tries.delete(caller);
    }
  }

  /** Resolves once all who have a place in that line, or in any, stand in etcd's queue or have come to nothing. */
  async whenEnqueued(name?: string): Promise<void> {
    const queues = name === undefined ? [...this.#queues.values()] : [this.#queues.get(name)];
    await Promise.all(queues.map(async (queue) => queue?.whenEnqueued()));
  }

  /** The entries of the locks that are held in this process. */
  *heldEntries(): Generator<Pick<Entry, 'key' | 'token'>> {
    for (const queue of this.#queues.values()) yield* queue.heldEntries;
  }

  /** Who waits in this process, in the order of each name; without a key who has no entry yet. */
  *waiters(): Generator<{ readonly name: string; readonly asked: ResolvedLockOptions; readonly key: string | undefined }> {
    for (const queue of this.#queues.values()) {
      for (const { caller, key } of queue.waiters) yield { name: queue.name, asked: caller.options, key };
    }
  }

  #queueOf(name: string): LocalQueue {
    const found = this.#queues.get(name);
    if (found !== undefined) return found;
    const queue = new LocalQueue(this.#context, name, () => {
      if (this.#queues.get(name) === queue) this.#queues.delete(name);
    });
    this.#queues.set(name, queue);
    return queue;
  }

  // For a message only, so it must not make the caller wait for long, nor fail.
  async #holderOf(name: string): Promise<string | undefined> {
    const { clock, requestTimeoutMs } = this.#context;
    const letGo = clock.hold();
    const { promise, resolve } = deferred<string | undefined>();
    const cancel = clock.setTimer(Math.min(500, requestTimeoutMs), () => {
      resolve(undefined);
    });
    readHolder(this.#context, name).then(resolve, () => {
      resolve(undefined);
    });
    return promise.finally(() => {
      cancel();
      letGo();
    });
  }

  /** Rejects whoever waits. */
  close(reason: unknown): void {
    for (const queue of [...this.#queues.values()]) queue.close(reason);
    for (const caller of [...this.#tries]) caller.reject(reason);
  }
}
