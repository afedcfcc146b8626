/** The local queues of one locker: one for each name that a caller of this process waits for or holds. */
import { keepAlive, waitAtMost } from '../clock.ts';
import type { Entry } from '../entry/entry.ts';
import { LockTimeoutError } from '../errors.ts';
import { queueRange } from '../keys.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { LockerContext } from '../session/locker-context.ts';
import { readHolderValue } from '../states/state.ts';
import { Caller } from './caller.ts';
import { LocalQueue } from './local-queue.ts';
import { tryAcquire } from './try-acquire.ts';

type TryCaller = Caller<LockHandle[] | null>;

export class LocalQueues {
  readonly #context: LockerContext;
  readonly #queues = new Map<string, LocalQueue>();
  /** The tries that are under way. */
  readonly #tries = new Set<TryCaller>();

  constructor(context: LockerContext) {
    this.#context = context;
  }

  /**
   * Waits for the lock for `options.timeoutMs`; an error reports `totalMs`.
   * @throws {LockTimeoutError} the time is up
   */
  async lock(name: string, options: ResolvedLockOptions, totalMs = options.timeoutMs): Promise<LockHandle> {
    const onTimeout = async (): Promise<never> => {
      throw new LockTimeoutError(name, totalMs ?? 0, await this.#readHolderValue(name));
    };
    if (options.timeoutMs === 0) return (await this.tryLock([name], options))?.[0] ?? onTimeout();
    const caller = new Caller<LockHandle>(this.#context.clock, options, onTimeout);
    this.#queueOf(name).join(caller);
    return caller.promise;
  }

  /** Takes all the locks at once, or returns null. */
  async tryLock(names: readonly string[], options: ResolvedLockOptions): Promise<LockHandle[] | null> {
    if (names.some((name) => this.#queues.get(name)?.checkTaken(options.slots) === true)) return null;
    return this.#start(names, options, false);
  }

  /** Takes the lock from its holders, ahead of all waiters: one step deletes their entries and creates this one. */
  async steal(name: string, options: ResolvedLockOptions): Promise<LockHandle> {
    const [lock] = (await this.#start([name], options, true)) ?? [];
    if (lock === undefined) throw new TypeError(`Cannot steal lock ${JSON.stringify(name)}: the try ended without it`);
    return lock;
  }

  #start(names: readonly string[], options: ResolvedLockOptions, steals: boolean): Promise<LockHandle[] | null> {
    const caller = new Caller<LockHandle[] | null>(this.#context.clock, { ...options, timeoutMs: undefined }, () => null);
    void this.#try(names, caller, steals);
    return caller.promise;
  }

  async #try(names: readonly string[], caller: TryCaller, steals: boolean): Promise<void> {
    const { options } = caller;
    const queues = names.map((name) => queueRange(this.#context.prefix, name));
    this.#tries.add(caller);
    try {
      const onAcquired = (entries: readonly Entry[]): void => {
        const held = entries.map((entry, index) => ({ entry, name: names[index] ?? '' }));
        if (steals) for (const { entry, name } of held) this.#queues.get(name)?.onSteal(entry.token);
        caller.resolve(held.map(({ entry, name }) => this.#queueOf(name).hold(entry, options)));
      };
      // A thief waits for nobody, and nobody for a thief.
      const whenTurn = (): Promise<unknown> | undefined => (steals ? undefined : this.#whenTurn(names));
      if (!steals) for (const name of names) this.#queueOf(name).beginTry(caller);
      const isAcquired = await tryAcquire({ context: this.#context, queues, caller, onAcquired, whenTurn, steals });
      if (!isAcquired) caller.resolve(null);
    } catch (error) {
      caller.reject(error);
    } finally {
      this.#tries.delete(caller);
      for (const name of names) this.#queues.get(name)?.endTry(caller);
    }
  }

  #whenTurn(names: readonly string[]): Promise<unknown> | undefined {
    const queues = names.flatMap((name) => this.#queues.get(name) ?? []).filter(({ hasUnqueued }) => hasUnqueued);
    return queues.length === 0 ? undefined : Promise.all(queues.map((queue) => queue.whenEnqueued()));
  }

  /** Resolves once etcd has the entry of each caller of that name, or of all names, or the caller has given up. */
  async whenEnqueued(name?: string): Promise<void> {
    const queues = name === undefined ? [...this.#queues.values()] : [this.#queues.get(name)];
    await Promise.all(queues.map(async (queue) => queue?.whenEnqueued()));
  }

  /** Returns the entries that are held in this process. */
  *heldEntries(): Generator<Pick<Entry, 'key' | 'token'>> {
    for (const queue of this.#queues.values()) yield* queue.heldEntries;
  }

  /** Returns the callers that wait in this process, name by name; without a key if the caller has no entry yet. */
  *waiters(): Generator<{ readonly name: string; readonly options: ResolvedLockOptions; readonly key: string | undefined }> {
    for (const queue of this.#queues.values()) {
      for (const { caller, key } of queue.waiters) yield { name: queue.name, options: caller.options, key };
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

  // The holder's value is for a message only: it must neither fail nor delay the error for long.
  async #readHolderValue(name: string): Promise<string | undefined> {
    const { clock, requestTimeoutMs } = this.#context;
    let value: string | undefined;
    const reading = readHolderValue(this.#context, name).then(
      (found) => {
        value = found;
      },
      () => undefined,
    );
    await keepAlive(clock, () => waitAtMost(clock, Math.min(500, requestTimeoutMs), reading));
    return value;
  }

  /** Rejects all callers that wait. */
  close(reason: unknown): void {
    for (const queue of [...this.#queues.values()]) queue.close(reason);
    for (const caller of [...this.#tries]) caller.reject(reason);
  }
}
