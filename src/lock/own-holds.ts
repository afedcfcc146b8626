/**
 * The locks that an async context holds: those whose `withLock()`, `lead()` or callback the running code was called by.
 *
 * A call that waits for one of them waits for itself. Node 20 and 22 make every promise of a process slower once an AsyncLocalStorage is
 * in use, so there is none before the first function runs under a lock of a locker that has a logger.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Hold } from './hold.ts';

interface OwnHold {
  readonly hold: Hold;
  readonly outer: OwnHold | undefined;
}

let storage: AsyncLocalStorage<OwnHold> | undefined;

export function runHolding<T>(hold: Hold, fn: () => T): T {
  storage ??= new AsyncLocalStorage();
  let outer = storage.getStore();
  // A function may start its own next run, in its context. Without this the chain would have all runs so far.
  while (outer?.hold.isHeld === false) outer = outer.outer;
  return storage.run({ hold, outer }, fn);
}

/** Returns the locks on `name` that the running code got by the locker with that context. They may be released by now. */
export function findOwnHolds(context: Hold['context'], name: string): readonly Hold[] {
  const found: Hold[] = [];
  for (let own = storage?.getStore(); own !== undefined; own = own.outer) {
    if (own.hold.context === context && own.hold.name === name) found.push(own.hold);
  }
  return found;
}
