/** Opens a locker for a form of the command that runs no COMMAND, and ends the form at the first signal. */
import { createLocker, type Locker, type LockerOptions } from 'etcd-locker';
import type { Ending } from './failures.ts';
import { Interruption } from './signals.ts';

/** @param task resolves with the exit status, if that is not 0; `signal` aborts when the task is no longer awaited */
export async function withLocker(
  options: LockerOptions,
  task: (locker: Locker, signal: AbortSignal) => Promise<number | undefined>,
): Promise<Ending> {
  const locker = createLocker(options);
  const interruption = new Interruption();
  try {
    // A signal ends the command while it waits for etcd, for an answer, and for the reader of stdout.
    const status = await Promise.race([task(locker, interruption.signal), rejectOnAbort(interruption.signal)]);
    return interruption.ending ?? { status: status ?? 0 };
  } catch (error) {
    if (interruption.ending === undefined) throw error;
    return interruption.ending;
  } finally {
    interruption.inbox.close();
    await locker.close();
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(signal.reason as Error);
    });
  });
}
