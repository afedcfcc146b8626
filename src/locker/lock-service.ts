/**
 * The locker that `createLocker` returns: it creates the parts, checks the options, and passes each call on.
 *
 * Read in this folder: locker.ts (the interface), lock-service.ts, lock-all.ts, drain.ts (the end of a locker), internals.ts (what web-locks may use).
 */
import { throwIfAborted } from '../abort.ts';
import { keepAlive, systemClock, waitAtMost } from '../clock.ts';
import { deferred } from '../deferred.ts';
import { Drain } from './drain.ts';
import { LockerClosedError } from '../errors.ts';
import { breakLock } from './break-lock.ts';
import { Heartbeat } from '../session/heartbeat.ts';
import { type Internals, internals } from './internals.ts';
import { buildGateValue } from '../keys.ts';
import { LocalQueues } from '../queue/local-queues.ts';
import { OutageLog } from '../outage-log.ts';
import { Pauses } from '../pauses.ts';
import { inspect } from '../states/inspect.ts';
import { listStates, toIterator } from '../states/list.ts';
import { lockAll } from './lock-all.ts';
import type { Lock } from '../lock/lock.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { Locker } from './locker.ts';
import { type MultiLock, MultiLockHandle } from '../lock/multi-lock.ts';
import { lead } from '../lock/lead.ts';
import { runWithLock } from '../lock/with-lock.ts';
import {
  type BreakOptions,
  checkFunction,
  checkName,
  checkNames,
  type CloseOptions,
  type LeadOptions,
  type ListOptions,
  type LockOptions,
  type ResolvedLockOptions,
  type ResolvedOptions,
  resolveCloseOptions,
  resolveLeadOptions,
  resolveBreakOptions,
  resolveListOptions,
  resolveLockOptions,
  resolveWatchAllOptions,
  resolveWatchOptions,
  type WatchAllOptions,
  type WatchOptions,
} from '../options/options.ts';
import { checkTransactionSize } from '../options/transaction-size.ts';
import type { LockerContext } from '../session/locker-context.ts';
import type { Context } from '../context.ts';
import { SessionPool } from '../session/session-pool.ts';
import { etcdStore } from '../store/etcd/etcd-store.ts';
import { allNames, type CopyTarget, oneName } from '../states/queue-copy.ts';
import { traced } from './trace.ts';
import { explainLimit, maxNamesAtOnce, nullOnTimeout } from './try-outcome.ts';
import { StateWatch } from '../states/state-watch.ts';
import type { Contender, LockDetails, LockStateIterator } from '../states/state.ts';
import { isAcquireTraced } from '../telemetry/channels.ts';
import type { AcquireOperation } from '../telemetry/messages.ts';

export class LockService implements Locker {
  readonly #options: ResolvedOptions;
  readonly #context: LockerContext;
  readonly #queues: LocalQueues;
  readonly #clientId = crypto.randomUUID();
  readonly #watches = new Set<StateWatch>();
  /** Rejects the reads that are under way. */
  readonly #endReads = new Set<(reason: unknown) => void>();
  /** The pauses of the calls of lead(). */
  readonly #pauses = new Set<Pauses>();
  #closed: Promise<void> | undefined;
  #drain: Drain | undefined;
  /** Whether reads and watches have ended too. */
  #isOver = false;

  constructor(options: ResolvedOptions) {
    this.#options = options;
    const { prefix, requestTimeoutMs, logger, value } = options;
    const store = options.store ?? etcdStore(options);
    const clock = store.clock ?? systemClock;
    const outageLog = new OutageLog(logger, clock, requestTimeoutMs);
    const context: Context = {
      store,
      clock,
      logger,
      outageLog,
      prefix,
      requestTimeoutMs,
      gateValue: buildGateValue(this.#clientId, value),
    };
    const heartbeat = new Heartbeat(context);
    this.#context = { ...context, heartbeat, sessions: new SessionPool(context, heartbeat) };
    this.#queues = new LocalQueues(this.#context);
  }

  readonly lock = async (name: string, options?: LockOptions): Promise<Lock> => {
    checkName(name);
    const resolved = this.#check(options);
    // Without await the call would take two more microtasks.
    return await this.#traced('lock', name, resolved, () => this.#wait(name, resolved));
  };

  readonly tryLock = async (name: string, options?: LockOptions): Promise<Lock | null> => {
    checkName(name);
    const resolved = this.#check(options);
    return this.#traced('tryLock', name, resolved, async () => {
      if (resolved.timeoutMs !== undefined && resolved.timeoutMs > 0)
        return nullOnTimeout(this.#wait(name, resolved, true), resolved.signal);
      const locks = await this.#tryLock([name], resolved);
      return locks?.[0] ?? null;
    });
  };

  readonly lockAll = async (names: Iterable<string>, options?: LockOptions): Promise<MultiLock> => {
    const distinct = checkNames(names, 'lock all');
    const resolved = this.#check(options);
    return this.#traced('lockAll', distinct, resolved, () => lockAll(this.#context, this.#queues, distinct, resolved, false));
  };

  readonly tryLockAll = async (names: Iterable<string>, options?: LockOptions): Promise<MultiLock | null> => {
    const distinct = checkNames(names, 'try to lock all', maxNamesAtOnce);
    const resolved = this.#check(options);
    return this.#traced('tryLockAll', distinct, resolved, () => this.#tryLockAll(distinct, resolved));
  };

  async #tryLockAll(distinct: readonly string[], resolved: ResolvedLockOptions): Promise<MultiLock | null> {
    if (resolved.timeoutMs !== undefined && resolved.timeoutMs > 0)
      return nullOnTimeout(lockAll(this.#context, this.#queues, distinct, resolved, true), resolved.signal);
    checkTransactionSize('try to lock all', this.#options.prefix, distinct, resolved.value);
    const locks = await this.#tryLock(distinct, resolved).catch(explainLimit(distinct.length));
    return locks === null ? null : new MultiLockHandle(locks);
  }

  readonly withLock = async <T>(
    name: string,
    ...rest: [fn: (lock: Lock) => T | Promise<T>] | [options: LockOptions, fn: (lock: Lock) => T | Promise<T>]
  ): Promise<T> => {
    const [options, fn] = rest.length === 1 ? [undefined, rest[0]] : rest;
    checkFunction('lock', fn);
    const lock = await this.lock(name, options);
    return runWithLock(this.#context.clock, lock, fn, (cause) => {
      this.#options.logger.warn(`etcd-locker: ${String(cause)}`);
    });
  };

  readonly lead = async <T>(
    name: string,
    ...rest: [fn: (lock: Lock) => T | Promise<T>] | [options: LeadOptions, fn: (lock: Lock) => T | Promise<T>]
  ): Promise<T> => {
    const [options, fn] = rest.length === 1 ? [undefined, rest[0]] : rest;
    checkFunction('lead', fn);
    checkName(name);
    const resolved = resolveLeadOptions(options, this.#options);
    const acquire = async (): Promise<Lock> => {
      this.#throwIfClosed();
      throwIfAborted(resolved.signal);
      return this.#traced('lead', name, resolved, () => this.#wait(name, resolved));
    };
    const { clock } = this.#context;
    const pauses = new Pauses(clock);
    this.#pauses.add(pauses);
    const campaigning = keepAlive(clock, () => lead(this.#context, { name, signal: resolved.signal, acquire, pauses }, fn));
    return campaigning.finally(() => this.#pauses.delete(pauses));
  };

  readonly inspect = async (name: string): Promise<LockDetails> => {
    checkName(name);
    return this.#untilClosed(() => inspect(this.#context, name, () => this.#queues.waitersOf(name)));
  };

  readonly list = (options?: ListOptions): LockStateIterator => {
    const { startsWith } = resolveListOptions(options);
    this.#throwIfOver();
    return toIterator(listStates(this.#context, startsWith, (task) => this.#untilClosed(task)));
  };

  readonly watch = (
    ...args: [name: string, options?: WatchOptions | undefined] | [options?: WatchAllOptions | undefined]
  ): LockStateIterator => {
    const [target, options] = this.#resolveWatch(args);
    this.#throwIfOver();
    return new StateWatch(this.#context, target, options, (watch) => {
      if (this.#isOver) watch.end();
      this.#watches.add(watch);
      watch.onEnd(() => this.#watches.delete(watch));
    });
  };

  readonly breakLock = async (name: string, options?: BreakOptions): Promise<Contender[]> => {
    checkName(name);
    const { fencingToken } = resolveBreakOptions(options);
    return this.#untilClosed(() => breakLock(this.#context, name, fencingToken));
  };

  // A rest parameter: jest gives a hook with a parameter a callback, and `afterAll(locker.close)` is such a hook.
  readonly close = async (...[options]: readonly [options?: CloseOptions | undefined]): Promise<void> => {
    const { drainMs } = resolveCloseOptions(options);
    if (this.#closed === undefined) this.#closed = this.#close(drainMs ?? 0);
    // The end of an `await using` block cuts no drain short.
    else if (drainMs !== undefined) this.#drain?.limit(drainMs);
    return this.#closed;
  };

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get [internals](): Internals {
    return {
      clientId: this.#clientId,
      context: this.#context,
      queues: this.#queues,
      untilClosed: (task) => this.#untilClosed(task),
      // The released promise of the standard means that the lock is free.
      resolve: (options) => ({ ...this.#check(undefined), keepMs: undefined, ...options }),
    };
  }

  #traced<T extends Lock | MultiLock | null>(
    operation: AcquireOperation,
    names: string | readonly string[],
    options: ResolvedLockOptions,
    call: () => Promise<T>,
  ): Promise<T> {
    return isAcquireTraced() ? traced({ clock: this.#context.clock, operation, names, options }, call) : call();
  }

  #wait(name: string, options: ResolvedLockOptions, isTry = false): Promise<Lock> {
    const { lease, timeoutMs } = options;
    const locking = this.#queues.lock(name, options, { timeoutMs, wasBusy: false, isTry });
    if (lease === undefined) return locking;
    return locking.then((lock) => {
      this.#context.sessions.endRenewal(lease);
      return lock;
    });
  }

  async #tryLock(names: readonly string[], options: ResolvedLockOptions): Promise<LockHandle[] | null> {
    const locks = await this.#queues.tryLock(names, options);
    if (options.lease !== undefined) this.#context.sessions.endRenewal(options.lease);
    return locks;
  }

  #resolveWatch(args: readonly unknown[]): [CopyTarget, WatchOptions] {
    const [first, ...rest] = args;
    const { prefix } = this.#options;
    const isOptions = first === undefined || (typeof first === 'object' && first !== null);
    if (isOptions && rest.length === 0) {
      const { startsWith = '', ...options } = resolveWatchAllOptions(...args);
      return [allNames(prefix, startsWith), options];
    }
    checkName(first);
    return [oneName(prefix, first), resolveWatchOptions(rest[0])];
  }

  #check(options: LockOptions | undefined): ResolvedLockOptions {
    const resolved = resolveLockOptions(options, this.#options);
    this.#throwIfClosed();
    throwIfAborted(resolved.signal);
    return resolved;
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw new LockerClosedError();
  }

  /** Reads go on in a drain, because holders may need them. */
  #throwIfOver(): void {
    if (this.#isOver) throw new LockerClosedError();
  }

  /** Runs a read that ends with `close()`. Keeps the process alive meanwhile. */
  async #untilClosed<T>(read: () => Promise<T>): Promise<T> {
    this.#throwIfOver();
    const closed = deferred<never>();
    this.#endReads.add(closed.reject);
    try {
      return await keepAlive(this.#context.clock, () => Promise.race([read(), closed.promise]));
    } finally {
      this.#endReads.delete(closed.reject);
    }
  }

  async #close(drainMs: number): Promise<void> {
    const { clock, sessions, store } = this.#context;
    this.#queues.close(new LockerClosedError(), drainMs > 0);
    for (const pauses of this.#pauses) pauses.end();
    if (drainMs > 0) {
      this.#drain = new Drain(clock);
      this.#drain.limit(drainMs);
      await this.#drain.wait(this.#queues.whenNoneHeld());
    }
    this.#isOver = true;
    for (const reject of [...this.#endReads]) reject(new LockerClosedError());
    for (const watch of [...this.#watches]) watch.end();
    await keepAlive(clock, () => waitAtMost(clock, this.#options.requestTimeoutMs, sessions.close()));
    if (store !== this.#options.store) await store.close();
  }
}
