/** The one way in which a signal is listened to here. */
import { addAbortListener } from 'node:events';

/**
 * Calls `callback` once when `signal` aborts, even where another listener stops the event; the answer ends the listening.
 *
 * A signal that has aborted already is the caller's to look at.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const listening = addAbortListener(signal, callback);
  return () => {
    listening[Symbol.dispose]();
  };
}
