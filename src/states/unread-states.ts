/**
 * The states that the reader of a watch has not seen: the newest one of each name that changed.
 *
 * A name that has the same holders as in its last read state is not reported. So the memory is bounded by the number of those names.
 */
import type { LockState } from './state.ts';

export class UnreadStates {
  /** In the order of their oldest unread change. */
  readonly #unread = new Map<string, LockState>();
  readonly #read = new Map<string, LockState>();
  readonly #reportsFree: boolean;

  /** @param reportsFree whether the first state of a name is reported even if the name is free */
  constructor(reportsFree: boolean) {
    this.#reportsFree = reportsFree;
  }

  add(state: LockState): void {
    const last = this.#read.get(state.name);
    const isNews = last === undefined ? state.held || this.#reportsFree : !isSame(last, state);
    if (isNews) this.#unread.set(state.name, state);
    else this.#unread.delete(state.name);
  }

  /** Removes and returns the state that has waited longest. */
  take(): LockState | undefined {
    for (const [name, state] of this.#unread) {
      this.#unread.delete(name);
      if (state.held || this.#reportsFree) this.#read.set(name, state);
      else this.#read.delete(name);
      return state;
    }
    return undefined;
  }
}

const isSame = (a: LockState, b: LockState): boolean =>
  a.current === b.current &&
  a.holders.length === b.holders.length &&
  a.holders.every((holder, index) => {
    const other = b.holders[index];
    return other?.fencingToken === holder.fencingToken && other.key === holder.key && other.value === holder.value;
  });
