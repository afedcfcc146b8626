/** Listens to abort signals. All parts of the library use this function for it. */
import { addAbortListener } from 'node:events';

/**
 * Calls `callback` once when `signal` aborts, even if another listener stops the event. Returns a function that removes the listener.
 *
 * It does not call `callback` for a signal that has aborted already: the caller checks `signal.aborted` first.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const listener = addAbortListener(signal, callback);
  return () => {
    listener[Symbol.dispose]();
  };
}
