/** The withdrawal of an entry that nobody holds: afterwards etcd does not have it and never will. */
import { keepAlive, waitAtMost } from '../clock.ts';
import type { Context } from '../context.ts';
import type { Session } from '../session/session.ts';

interface AbandonedEntry {
  readonly key: string;
  readonly kind: string;
  readonly session: Session;
  settle(timeoutMs: number): Promise<void>;
  /** Takes in that etcd does not have the key. */
  confirmReleased(): void;
  release(): void;
  whenReleased(): Promise<void>;
}

export function abandonEntry(context: Context, entry: AbandonedEntry): void {
  withdraw(context, entry).catch((error: unknown) => {
    context.logger.warn(`etcd-locker: cannot delete ${entry.key}, it ends with its lease: ${String(error)}`);
  });
}

async function withdraw({ clock, requestTimeoutMs }: Context, entry: AbandonedEntry): Promise<void> {
  const isUnsettled = (): boolean => entry.kind === 'unsettled';
  await entry.session.retry(isUnsettled, () => keepAlive(clock, () => entry.settle(requestTimeoutMs)));
  if (entry.kind === 'new') entry.confirmReleased();
  if (entry.kind !== 'queued') return;
  entry.release();
  const released = entry.whenReleased();
  // The caller has its answer already, so nobody else keeps the process alive until etcd has the request.
  await keepAlive(clock, () => waitAtMost(clock, requestTimeoutMs, released));
  await released;
}
