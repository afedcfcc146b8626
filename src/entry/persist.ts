/** What must be done in etcd before a session ends is tried again and again, until it is answered. */
import { EtcdUnavailableError } from '../errors.ts';
import type { Session } from '../session/session.ts';

/**
 * Resolves once an attempt has been answered, or is not wanted any more, or the session has ended.
 *
 * @throws what an attempt was refused with; then the session takes no new entry, as only its end can free what is left in it
 */
export async function persist(session: Session, isWanted: () => boolean, attempt: () => Promise<unknown>): Promise<void> {
  for (let failures = 0; isWanted() && session.isOpen; failures += 1) {
    if (failures > 0) await session.pause(Math.min(50 * 2 ** failures, 1_000));
    try {
      // Asked anew: much may have happened in the pause.
      if (isWanted()) await attempt();
      return;
    } catch (error) {
      if (error instanceof EtcdUnavailableError) continue;
      session.sealAfterRefusal();
      throw error;
    }
  }
}
