/** Finds out what became of a write that creates an entry and got no response. */
import { addMs, msUntil } from '../clock.ts';
import type { Context } from '../context.ts';
import type { QueueRange } from '../keys.ts';
import type { Session } from '../session/session.ts';
import type { KeyValue } from '../store/store.ts';
import { readEntry } from './transactions.ts';

interface UnsettledEntry {
  readonly queue: QueueRange;
  readonly key: string;
  readonly slots: number;
  readonly session: Session;
  /** The newest create revision that the session knew before the creation. */
  readonly knownToken: bigint;
  isKeyForeign: boolean;
}

/**
 * Returns the key as it is once no write that compared `gate` can create it any longer. If etcd has refused the creation (`isRefused`),
 * it has applied it already, or never will.
 * @throws {EtcdUnavailableError} etcd did not respond in time
 */
export async function readSettled(
  { store, clock }: Context,
  entry: UnsettledEntry,
  gate: bigint,
  isRefused: boolean,
  timeoutMs: number,
): Promise<KeyValue | undefined> {
  const until = addMs(clock.now(), timeoutMs);
  // A full etcd would refuse to move the gate, but it has responded: no write is on its way, and a read shows the outcome.
  if (!isRefused) await entry.session.gate.settle(gate, timeoutMs);
  const found = await readEntry(store, entry, Math.max(1, msUntil(until, clock.now())));
  // An earlier entry may have the key: that of a minimum hold, or one that a restore from a snapshot has brought back.
  entry.isKeyForeign = found !== undefined && found.createRevision <= entry.knownToken;
  return entry.isKeyForeign ? undefined : found;
}
