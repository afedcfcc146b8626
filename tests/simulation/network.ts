/**
 * The store that a locker sees: etcd behind a network with faults.
 *
 * It follows the rules of the real adapter: which requests are repeated, which are sent once, and which error ends a request.
 */
import { EtcdRefusedError, EtcdUnavailableError, OutcomeUnknownError } from '../../src/errors.ts';
import type {
  CommitOptions,
  Committed,
  KeyValue,
  Renewal,
  Store,
  Transaction,
  WatchListener,
  WatchRequest,
} from '../../src/store/store.ts';
import { Evidence } from './evidence.ts';
import type { CountingClock, Machine } from './machine.ts';
import type { Prng } from './prng.ts';
import { type Outcome, Wire } from './request.ts';
import { WatchStream } from './watch-stream.ts';
import { createdEntriesOf, describe, describeAnswer } from './words.ts';
import type { World } from './world.ts';

interface RequestOptions {
  readonly timeoutMs: number;
  readonly once?: boolean;
}

/** The number of members over which requests rotate. It decides how long one try may take. */
const hostCount = 3;
const shortestTryMs = 10;
const noSpace = 'etcdserver: mvcc: database space exceeded';
const failures = [{ host: '10.0.0.1:2379', reason: 'no response' }];

export class SimulatedStore implements Store {
  readonly clock: CountingClock;
  readonly wire: Wire;
  readonly watchStream: WatchStream;
  readonly evidence = new Evidence();
  readonly #world: World;
  readonly #machine: Machine;
  readonly #prng: Prng;
  readonly #requestTimeoutMs: number;
  /** Whether it sends renewals to a former leader, which was frozen and has been replaced. */
  #isAtFormerLeader = false;
  /** The leases that the locker has revoked. */
  readonly #revokedLeases = new Set<string>();

  constructor(world: World, machine: Machine, clock: CountingClock, prng: Prng, source: string) {
    this.#world = world;
    this.#machine = machine;
    this.clock = clock;
    this.#prng = prng;
    this.#requestTimeoutMs = world.scenario.requestTimeoutMs;
    this.watchStream = new WatchStream(world, machine, prng.fork('watches'), source, this.evidence);
    this.wire = new Wire(world, machine, prng.fork('wire'), source, () => {
      this.watchStream.break('its connection was given up');
    });
  }

  /** Makes the connection dead for requests and watches. The pings of the watches find out if no request does. */
  loseConnection(connection: 'deaf' | 'mute' | 'never made'): void {
    if (this.wire.isDead) return;
    this.wire.break(connection);
    if (connection === 'never made') this.watchStream.break('its connection is gone');
    this.watchStream.mute();
    // A quiet watch stream pings etcd, and gives the connection up if the ping gets no response.
    this.#machine.after(Math.max(1_000, this.#requestTimeoutMs), () => {
      this.wire.giveUp();
    });
  }

  grant(leaseId: string, ttlSeconds: number): Promise<number> {
    this.#world.history.nameLease(leaseId);
    return this.#request(
      () => `grant ${leaseId}`,
      () => {
        this.#world.faultSchedule.injectWhileAnswering(this.#machine, this.#prng, this.#world.scenario.leaseFaultProbability);
        if (this.#world.faultSchedule.isFull) throw new EtcdRefusedError(noSpace);
        this.#world.etcd.grant(leaseId, ttlSeconds);
        return ttlSeconds;
      },
    );
  }

  async renew(leaseId: string, gateKey: string, timeoutMs: number): Promise<Renewal> {
    const { faults, scenario } = this.#world;
    if (faults.occurs('formerLeader', this.#prng, scenario.intensity)) this.#isAtFormerLeader = true;
    let isGood = false;
    try {
      const renewal = await this.#renew(leaseId, gateKey, timeoutMs, this.#isAtFormerLeader && !faults.isOver);
      isGood = renewal.renewed;
      return renewal;
    } finally {
      // After a failure the next renewal goes to the next host.
      if (!isGood) this.#isAtFormerLeader = false;
    }
  }

  async #renew(leaseId: string, gateKey: string, timeoutMs: number, isFormer: boolean): Promise<Renewal> {
    const { etcd, faults, faultSchedule, scenario } = this.#world;
    const untilMs = this.#machine.now().monotonicMs + timeoutMs;
    const isUnknown = faults.occurs('unknownLease', this.#prng, scenario.intensity);
    const renewal = answerOf(
      await this.wire.send(
        () => `renew ${leaseId}${isFormer ? ' at a former leader' : ''}`,
        () => {
          // A former leader responds from its own memory, and no other member learns of the renewal.
          if (isFormer) return { ttl: 1, term: faultSchedule.term - 1 };
          if (isUnknown) return { ttl: 0, term: faultSchedule.term };
          return { ttl: etcd.renew(leaseId) ? 1 : 0, term: faultSchedule.term };
        },
        timeoutMs,
      ),
    );
    const read = answerOf(
      await this.wire.send(
        () => `read gate of ${leaseId}`,
        () => {
          faultSchedule.injectWhileAnswering(this.#machine, this.#prng, this.#world.scenario.leaseFaultProbability);
          return { gate: this.#read(gateKey), term: faultSchedule.term };
        },
        Math.max(1, untilMs - this.#machine.now().monotonicMs),
      ),
    );
    return { renewed: isRenewed(renewal, read), gate: read.gate };
  }

  async leaseKeys(leaseId: string): Promise<ReadonlySet<string>> {
    const { etcd, faults, scenario } = this.#world;
    const isStale = faults.occurs('staleKeys', this.#prng, 0.05 + scenario.intensity);
    return this.#request(
      () => `keys of ${leaseId}`,
      () => (isStale ? new Set() : etcd.leaseKeys(leaseId)),
    );
  }

  revoke(leaseId: string): Promise<void> {
    this.#revokedLeases.add(leaseId);
    return this.#request(
      () => `revoke ${leaseId}`,
      () => {
        this.#world.etcd.revoke(leaseId);
      },
    );
  }

  async commit(transaction: Transaction, { once = false, timeoutMs = this.#requestTimeoutMs }: CommitOptions = {}): Promise<Committed> {
    const { etcd, history, judge } = this.#world;
    const creations = createdEntriesOf(transaction);
    const answer = await this.#request(
      () => describe(transaction),
      () => {
        if (this.#world.faultSchedule.isFull && writes(transaction)) throw new EtcdRefusedError(noSpace);
        const committed = etcd.commit(transaction);
        history.add('etcd', () => `${describeAnswer(committed)}: ${describe(transaction)}`);
        return committed;
      },
      { once, timeoutMs },
    );
    this.evidence.onResponse(transaction, answer);
    for (const { leaseId, value } of creations) if (answer.succeeded && !this.#revokedLeases.has(leaseId)) judge.enqueued(value);
    return answer;
  }

  watch(request: WatchRequest, listener: WatchListener): () => void {
    return this.watchStream.add(request, listener);
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }

  /** Retries by the rules of the adapter. With `once` it never repeats a request that may have been applied. */
  async #request<T>(
    description: () => string,
    apply: () => T,
    { timeoutMs, once = false }: RequestOptions = { timeoutMs: this.#requestTimeoutMs },
  ): Promise<T> {
    const untilMs = this.#machine.now().monotonicMs + timeoutMs;
    for (let tries = 0; ; tries += 1) {
      const leftMs = untilMs - this.#machine.now().monotonicMs;
      if (leftMs <= (tries > 0 ? shortestTryMs : 0)) throw new EtcdUnavailableError(timeoutMs, failures);
      const outcome = await this.wire.send(description, apply, Math.min(leftMs, this.#requestTimeoutMs / (hostCount + 1)), once);
      if (outcome.kind === 'answer') return outcome.value;
      if (outcome.kind === 'refused') {
        // etcd may run out of space while it applies a write, so this refusal proves nothing.
        const isUnknown = once && outcome.error instanceof EtcdRefusedError && outcome.error.message.includes(noSpace);
        throw isUnknown ? new OutcomeUnknownError(failures, { cause: outcome.error }) : outcome.error;
      }
      if (outcome.kind === 'unanswered' && once) throw new OutcomeUnknownError(failures);
      const rounds = Math.floor((tries + 1) / hostCount);
      const pauseMs = Math.min(25 * 2 ** rounds, 500, untilMs - this.#machine.now().monotonicMs);
      if (rounds > 0 && pauseMs > 0) await this.#machine.sleep(pauseMs);
    }
  }

  #read(key: string): KeyValue | null {
    const { ranges } = this.#world.etcd.commit({ compare: [], then: [{ range: { key } }], otherwise: [] });
    return ranges[0]?.[0] ?? null;
  }
}

/** etcd refuses a transaction if either branch has a put. */
const writes = ({ then, otherwise }: Transaction): boolean => [...then, ...otherwise].some((operation) => 'put' in operation);

/** The rule of the real adapter: the keepalive and the read after it must be answered in the same term. */
function isRenewed(renewal: { readonly ttl: number; readonly term: number }, read: { readonly term: number }): boolean {
  return renewal.ttl > 0 && renewal.term === read.term;
}

function answerOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind === 'answer') return outcome.value;
  if (outcome.kind === 'refused') throw outcome.error;
  throw new Error(`10.0.0.1:2379: ${outcome.kind}`);
}
