/**
 * The gate of a session: a key that fences creations whose outcome is unknown.
 *
 * Every write that creates an entry compares the gate's mod revision. Moving the gate therefore settles all such writes that got no
 * response: a write that etcd has not applied by then can never be applied. docs/protocol.md, "The gate", has the proof.
 */
import { addMs, msUntil, waitAtMost } from '../clock.ts';
import type { Context } from '../context.ts';
import { EtcdUnavailableError, LeaseNotFoundError, type LossReason } from '../errors.ts';
import { gateKey } from '../keys.ts';
import type { KeyValue, Transaction } from '../store/store.ts';

/** The part of a session that its gate uses. */
interface GateSession {
  readonly leaseId: string;
  checkOpen(): boolean;
  end(reason: LossReason, cause?: Error): void;
}

const goneText = 'etcd no longer has the lease: it expired or was revoked';
const restoredText = 'etcd was restored from a snapshot that is older than the lease';

export class Gate {
  readonly key: string;
  readonly #context: Context;
  readonly #session: GateSession;
  #createRevision = 0n;
  #revision = 0n;
  /** The revision of the last put of this process. */
  #putAt = 0n;
  #move: Promise<void> | undefined;

  constructor(context: Context, session: GateSession) {
    this.#context = context;
    this.#session = session;
    this.key = gateKey(context.prefix, session.leaseId);
  }

  /** The newest mod revision that a response has shown. */
  get revision(): bigint {
    return this.#revision;
  }

  /**
   * Creates the key. A second call after a lost response finds it and changes nothing.
   * @throws {LeaseNotFoundError} the lease ended before the gate was created
   */
  async create(timeoutMs: number): Promise<void> {
    const isAbsent = { key: this.key, target: 'create', op: '=', revision: 0n } as const;
    const creation: Transaction = { compare: [isAbsent], then: [this.#put], otherwise: [{ range: { key: this.key } }] };
    const { succeeded, revision, ranges } = await this.#context.store.commit(creation, { timeoutMs });
    const found = ranges[0]?.[0];
    this.#createRevision = succeeded ? revision : (found?.createRevision ?? 0n);
    this.#revision = succeeded ? revision : (found?.modRevision ?? 0n);
    this.#putAt = this.#revision;
  }

  /** Takes in that the key was deleted at `revision`. A deletion from before its creation is not that of this key. */
  onDeleted(revision: bigint): void {
    if (revision > this.#createRevision) this.#endSession(goneText);
  }

  /** Whether another program has put the key at `revision`. Resolves once no move of this process is under way. */
  async isForeignPut(revision: bigint): Promise<boolean> {
    await this.#move?.catch(() => undefined);
    return revision !== this.#putAt;
  }

  /**
   * Takes the gate from a linearizable response. `known` is `revision` as it was when the request was sent.
   * Returns false, and ends the session, if the key is gone or another one, or if etcd went back in time.
   */
  confirm(found: KeyValue | null | undefined, known: bigint): boolean {
    if (found?.createRevision !== this.#createRevision) this.#endSession(goneText);
    // A response that another one overtook shows no less than what was known at its sending. Only a restore takes that back.
    else if (found.modRevision < known) this.#endSession(restoredText);
    else this.#observe(found.modRevision);
    return this.#session.checkOpen();
  }

  /** Takes the gate from the response to a refused creation that compared `known`. Returns its mod revision; undefined as in `confirm`. */
  observe(found: KeyValue | undefined, known: bigint): bigint | undefined {
    return this.confirm(found, known) ? found?.modRevision : undefined;
  }

  /**
   * Moves the gate on from `revision`. Once it resolves, etcd can no longer apply a write that compared `revision`.
   * @throws {EtcdUnavailableError} etcd did not respond in time; `hosts` may be empty if a move of another caller goes on
   */
  async settle(revision: bigint, timeoutMs: number): Promise<void> {
    const { clock, requestTimeoutMs } = this.#context;
    const until = addMs(clock.now(), timeoutMs);
    while (this.#session.checkOpen() && this.#revision <= revision) {
      const isOwnMove = this.#move === undefined;
      this.#move ??= this.#moveOn().finally(() => (this.#move = undefined));
      try {
        await waitAtMost(clock, Math.max(0, msUntil(until, clock.now())), this.#move);
      } catch (error) {
        // A move that another caller began may fail while this caller still has time.
        if (isOwnMove || !(error instanceof EtcdUnavailableError)) throw error;
      }
      if (this.#revision <= revision && msUntil(until, clock.now()) <= 0) throw new EtcdUnavailableError(requestTimeoutMs, []);
    }
  }

  async #moveOn(): Promise<void> {
    const isOurs = { key: this.key, target: 'create', op: '=', revision: this.#createRevision } as const;
    const known = this.#revision;
    let response;
    try {
      response = await this.#context.store.commit({ compare: [isOurs], then: [this.#put], otherwise: [] });
    } catch (error) {
      if (!(error instanceof LeaseNotFoundError)) throw error;
      this.#endSession(goneText);
      return;
    }
    // A missing gate fences as well: a key never gets back a mod revision that it had.
    if (!response.succeeded) this.#endSession(goneText);
    else if (response.revision <= known) this.#endSession(restoredText);
    else this.#observe((this.#putAt = response.revision));
  }

  #endSession(why: string): void {
    this.#session.end('expired', new Error(why));
  }

  get #put() {
    return { put: { key: this.key, value: this.#context.gateValue, leaseId: this.#session.leaseId } };
  }

  #observe(modRevision: bigint): void {
    if (modRevision > this.#revision) this.#revision = modRevision;
  }
}
