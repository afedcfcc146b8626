/** The iterator of `watch()`. It keeps only the newest state of each name for its reader. */
import { onAbort } from '../abort.ts';
import type { Context } from '../context.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { type CopyTarget, QueueCopy } from './queue-copy.ts';
import type { LockState, LockStateIterator } from './state.ts';
import { UnreadStates } from './unread-states.ts';

export interface StateWatchOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether the first failed read ends the watch. Otherwise the watch waits until etcd responds. */
  readonly failFast?: boolean | undefined;
}

export class StateWatch implements LockStateIterator {
  readonly #context: Context;
  readonly #target: CopyTarget;
  readonly #options: StateWatchOptions;
  readonly #onStart: (watch: this) => void;
  readonly #cleanUp: (() => void)[] = [];
  #isStarted = false;
  readonly #unread: UnreadStates;
  /** The calls of next() without a result, oldest first. */
  #pendingCalls: Deferred<IteratorResult<LockState>>[] = [];
  #end: { readonly error?: unknown } | undefined;

  /**
   * Nothing refers to the watch before the first call of next(): neither its locker nor `signal`. So a program may drop it unused.
   *
   * @param onStart called before the watch opens; it may end the watch
   */
  constructor(context: Context, target: CopyTarget, options: StateWatchOptions, onStart: (watch: StateWatch) => void) {
    this.#context = context;
    this.#target = target;
    this.#options = options;
    this.#unread = new UnreadStates(target.name !== undefined);
    this.#onStart = onStart;
  }

  next(): Promise<IteratorResult<LockState>> {
    const call = deferred<IteratorResult<LockState>>();
    this.#pendingCalls.push(call);
    if (!this.#isStarted && this.#end === undefined) this.#start();
    this.#flush();
    return call.promise;
  }

  return(): Promise<IteratorResult<LockState>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  throw(error?: unknown): Promise<IteratorResult<LockState>> {
    this.end();
    const call = deferred<IteratorResult<LockState>>();
    call.reject(error);
    return call.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Calls `callback` when the watch ends, or at once if it has ended. */
  onEnd(callback: () => void): void {
    if (this.#end === undefined) this.#cleanUp.push(callback);
    else callback();
  }

  /** Ends the iteration. With an error, the next call of next() rejects with it. */
  end(error?: unknown): void {
    if (this.#end !== undefined) return;
    this.#end = error === undefined ? {} : { error };
    for (const cleanUp of this.#cleanUp.splice(0)) cleanUp();
    this.#flush();
  }

  // Starts with the first call of next(), because a loop that never begins never calls return() either.
  #start(): void {
    this.#isStarted = true;
    this.#listenToSignal();
    this.#onStart(this);
    if (this.#end !== undefined) return;
    const copy = new QueueCopy(this.#context, this.#target, this.#options.failFast === true, {
      changed: (states) => {
        for (const state of states) this.#unread.add(state);
        this.#flush();
      },
      failed: (error) => {
        this.end(error);
      },
    });
    this.#cleanUp.push(this.#context.clock.hold(), () => {
      copy.close();
    });
    copy.open();
  }

  #listenToSignal(): void {
    const abort = (): void => {
      this.end();
    };
    const { signal } = this.#options;
    if (signal?.aborted === true) abort();
    else if (signal !== undefined) this.#cleanUp.push(onAbort(signal, abort));
  }

  #flush(): void {
    if (this.#end === undefined) this.#yieldUnread();
    else this.#finishCalls(this.#end.error);
  }

  #yieldUnread(): void {
    while (this.#pendingCalls.length > 0) {
      const state = this.#unread.take();
      if (state === undefined) return;
      this.#pendingCalls.shift()?.resolve({ done: false, value: state });
    }
  }

  /** Settles the pending calls. An error is reported once: the first call rejects with it, later ones report the end. */
  #finishCalls(error: unknown): void {
    const [first, ...others] = this.#pendingCalls.splice(0);
    if (first === undefined) return;
    this.#end = {};
    if (error === undefined) first.resolve({ done: true, value: undefined });
    else first.reject(error);
    for (const call of others) call.resolve({ done: true, value: undefined });
  }
}
