/**
 * Finds handles that the program dropped while their locks were held.
 *
 * All lockers of the process share one registry. It is made when the first lock has been held for a while.
 */

interface Dropped {
  onUnreachable(): void;
}

let registry: FinalizationRegistry<Dropped> | undefined;

/** Returns the registry. It calls `onUnreachable` of what was registered with a handle, some time after that handle was collected. */
export const unreachable = (): FinalizationRegistry<Dropped> =>
  (registry ??= new FinalizationRegistry((dropped) => {
    dropped.onUnreachable();
  }));

/** The handle of each signal, so that a signal that is in use keeps its lock. */
export const handlesOfSignals = new WeakMap<AbortSignal, object>();
