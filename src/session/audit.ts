/**
 * The audit of a session: whether etcd has all of its entries, and no other entry of its lease.
 *
 * The list of a lease's keys may come from a member that lags behind. It raises a suspicion; a linearizable read decides. After a restore
 * from a snapshot, a released entry may be back: a stray, which would be renewed with the session for as long as that lives.
 */
import { backoffMs } from '../backoff.ts';
import type { Context } from '../context.ts';
import { isEntryOf } from '../keys.ts';
import type { Member } from './member.ts';

/** The part of a session that its audit uses. */
interface AuditedSession {
  readonly leaseId: string;
  readonly members: ReadonlySet<Member>;
  readonly marginMs: number;
  checkOpen(): boolean;
  noteToken(token: bigint): void;
  pause(delayMs: number): Promise<void>;
}

export class Audit {
  readonly #context: Context;
  readonly #session: AuditedSession;
  /** The keys of all entries that the session has had since the list was asked for. */
  #knownKeys = new Set<string>();
  /** Whether the session has had an entry since the last audit. */
  #wasUsed = false;
  #isRunning = false;
  #requests = 0;
  #checkedMs = Number.NEGATIVE_INFINITY;
  /** How many audits have followed each other closely. */
  #closeAudits = 0;

  constructor(context: Context, session: AuditedSession) {
    this.#context = context;
    this.#session = session;
  }

  /** Takes in a new entry of the session. */
  onEntry(key: string): void {
    this.#wasUsed = true;
    if (this.#isRunning) this.#knownKeys.add(key);
  }

  /** Audits the session, unless it had no entry since the last audit. The sooner audits follow each other, the longer the next one waits. */
  async run(): Promise<void> {
    this.#requests += 1;
    if (this.#isRunning || !this.#wasUsed) return;
    this.#isRunning = true;
    let done;
    do {
      done = this.#requests;
      await this.#check().catch((error: unknown) => {
        this.#context.logger.debug(`etcd-locker: cannot check the keys of lease ${this.#session.leaseId}: ${String(error)}`);
      });
      await this.#session.pause(this.#nextPauseMs());
    } while (done !== this.#requests && this.#session.checkOpen());
    this.#isRunning = false;
  }

  // Another program may write to the gate all the time, and each write calls for an audit. The first few of them, as by `breakLock()` on
  // several names, are served at once.
  #nextPauseMs(): number {
    const { marginMs } = this.#session;
    const { monotonicMs } = this.#context.clock.now();
    this.#closeAudits = monotonicMs - this.#checkedMs < marginMs ? this.#closeAudits + 1 : 0;
    this.#checkedMs = monotonicMs;
    return backoffMs(this.#closeAudits, { firstMs: 10, maxMs: marginMs / 2 });
  }

  async #check(): Promise<void> {
    const { leaseId, members } = this.#session;
    const settled = [...members].filter((member) => member.isSettled);
    this.#wasUsed = members.size > 0;
    const known = (this.#knownKeys = new Set([...members].map(({ key }) => key)));
    const keys = await this.#context.store.leaseKeys(leaseId);
    const missing = settled.filter((member) => !keys.has(member.key) && member.isSettled);
    await Promise.all(missing.map((member) => member.verify()));
    // `Lock.leaseId` is public, so a user may have put other keys with the lease. Those stay.
    const isStray = (key: string): boolean => !known.has(key) && isEntryOf(this.#context.prefix, leaseId, key);
    for (const key of [...keys].filter(isStray)) await this.#deleteStray(key);
  }

  async #deleteStray(key: string): Promise<void> {
    const { store, outageLog } = this.#context;
    const { leaseId } = this.#session;
    const { ranges } = await store.commit({ compare: [], then: [{ range: { key } }], otherwise: [] });
    const found = ranges[0]?.[0];
    // An entry that has come meanwhile may have this key: its creation is under way, or was.
    const isInUse = [...this.#session.members].some((member) => member.key === key);
    if (found?.leaseId !== leaseId || isInUse || !this.#session.checkOpen()) return;
    // No creation that is sent from now on takes the stray for its own entry.
    this.#session.noteToken(found.createRevision);
    const isStray = { key, target: 'create', op: '=', revision: found.createRevision } as const;
    await store.commit({ compare: [isStray], then: [{ delete: { key } }], otherwise: [] });
    outageLog.warn(`deleted ${key}, which nobody uses: etcd may have been restored from a snapshot`);
  }
}
