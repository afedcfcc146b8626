/**
 * Reads abort signals and listens to them. All parts of the library use these functions for it.
 *
 * A signal may come from a polyfill that has neither `throwIfAborted` nor `reason`.
 */
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

/** Returns the reason of an aborted signal. Without one it is the reason that `AbortController` sets by default. */
export function reasonOf({ reason }: Partial<Pick<AbortSignal, 'reason'>>): unknown {
  return reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : (reason as unknown);
}

/** @throws the reason of the signal, if it has aborted */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw reasonOf(signal);
}
