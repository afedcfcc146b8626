/** The iterator of `watch()`. It keeps only the newest state for its reader. */
import { onAbort } from '../abort.ts';
import type { Context } from '../context.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { QueueCopy } from './queue-copy.ts';
import type { LockState, LockStateIterator } from './state.ts';

export class StateWatch implements LockStateIterator {
  readonly #context: Context;
  readonly #name: string;
  readonly #signal: AbortSignal | undefined;
  readonly #onStart: (watch: this) => void;
  readonly #cleanUp: (() => void)[] = [];
  #isStarted = false;
  #newest: LockState | undefined;
  #yielded: LockState | undefined;
  /** The calls of next() without a result, oldest first. */
  #pendingCalls: Deferred<IteratorResult<LockState>>[] = [];
  #end: { readonly error?: unknown } | undefined;

  /**
   * Nothing refers to the watch before the first call of next(): neither its locker nor `signal`. So a program may drop it unused.
   *
   * @param onStart called before the watch opens; it may end the watch
   */
  constructor(context: Context, name: string, signal: AbortSignal | undefined, onStart: (watch: StateWatch) => void) {
    this.#context = context;
    this.#name = name;
    this.#signal = signal;
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
    const copy = new QueueCopy(this.#context, this.#name, {
      changed: (state) => {
        this.#newest = state;
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
    if (this.#signal?.aborted === true) abort();
    else if (this.#signal !== undefined) this.#cleanUp.push(onAbort(this.#signal, abort));
  }

  #flush(): void {
    if (this.#end === undefined) this.#yieldNewest();
    else this.#finishCalls(this.#end.error);
  }

  #yieldNewest(): void {
    const state = this.#newest;
    if (state === undefined || (this.#yielded !== undefined && hasSameHolders(this.#yielded, state))) return;
    const call = this.#pendingCalls.shift();
    if (call === undefined) return;
    this.#yielded = state;
    call.resolve({ done: false, value: state });
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

const hasSameHolders = (a: LockState, b: LockState): boolean =>
  a.holders.length === b.holders.length &&
  a.holders.every((holder, index) => {
    const other = b.holders[index];
    return other?.fencingToken === holder.fencingToken && other.key === holder.key && other.value === holder.value;
  });
