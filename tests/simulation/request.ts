/**
 * One request on its way to etcd and back. It decides when the request arrives, when the response arrives, and which of the two is lost.
 *
 * A request may be applied at any later time: after its sender's timeout, after the response to its retry, and after all requests
 * that followed. A member that was frozen with the request in its memory does the same.
 */
import { EtcdAuthError } from '../../src/errors.ts';
import type { Machine } from './machine.ts';
import type { Prng } from './prng.ts';
import type { World } from './world.ts';

export type Outcome<T> =
  | { readonly kind: 'answer'; readonly value: T }
  | { readonly kind: 'refused'; readonly error: unknown }
  /** The request provably never left the process. */
  | { readonly kind: 'unsent' }
  /** No response in time. The request was applied, or was not, or will be. */
  | { readonly kind: 'unanswered' };

/**
 * The state of a connection: `deaf` passes nothing either way, `mute` passes requests but no response. A connection that is never made
 * keeps its requests in the process.
 */
export type Connection = 'good' | 'deaf' | 'mute' | 'never made';

/** More than any process sends in a second in which none of its calls takes a step. */
const maxRequests = 80;

export class Wire {
  readonly #world: World;
  readonly #machine: Machine;
  readonly #prng: Prng;
  readonly #source: string;
  readonly #onGivenUp: () => void;
  #connection: Connection = 'good';
  /** The requests since `#countedFromMs`, or since the process last made progress. */
  #count = 0;
  #countedFromMs = 0;
  /** The revision of etcd when it made the response that was delivered last. */
  answeredAt = 0n;

  /** `onGivenUp` is called when a connection that passes nothing is given up for a new one. */
  constructor(world: World, machine: Machine, prng: Prng, source: string, onGivenUp: () => void) {
    this.#world = world;
    this.#machine = machine;
    this.#prng = prng;
    this.#source = source;
    this.#onGivenUp = onGivenUp;
  }

  /** A call began, ended or took a step that the judge sees. */
  noteProgress(): void {
    this.#count = 0;
  }

  /** Breaks the rule `spin` if the process sends many requests within a second, and no call takes a step. */
  #countRequest(): void {
    const { scheduler, judge } = this.#world;
    if (scheduler.nowMs - this.#countedFromMs > 1_000) {
      this.#count = 0;
      this.#countedFromMs = scheduler.nowMs;
    }
    this.#count += 1;
    if (this.#count > maxRequests) judge.violated('spin', `${this.#source} sends ${String(maxRequests)} requests in a second, in vain`);
  }

  /** Whether its connection passes nothing from etcd. */
  get isDead(): boolean {
    return this.#connection !== 'good';
  }

  /** Makes the present connection pass nothing, until a try on it gets no response. */
  break(connection: Exclude<Connection, 'good'>): void {
    this.#log(() => `its connection is ${connection}`);
    this.#connection = connection;
  }

  /** Gives the connection up. The next request has a new one. */
  giveUp(): void {
    if (this.#connection === 'good') return;
    this.#log(() => 'gives its connection up');
    this.#connection = 'good';
    this.#onGivenUp();
  }

  /** Makes one try. Its sender waits `tryMs` for a response. A request that is sent `once` is applied at most once. */
  send<T>(describe: () => string, apply: () => T, tryMs: number, once = false): Promise<Outcome<T>> {
    return new Promise((resolve) => {
      const connection = this.#connection;
      const cancel = this.#machine.after(tryMs, () => {
        this.#log(() => `no response to: ${describe()}`);
        if (this.#connection === connection) this.giveUp();
        resolve({ kind: connection === 'never made' ? 'unsent' : 'unanswered' });
      });
      if (connection === 'never made') return;
      this.#send(describe, apply, once, (outcome) => {
        cancel();
        resolve(outcome);
      });
    });
  }

  #send<T>(describe: () => string, apply: () => T, once: boolean, answer: (outcome: Outcome<T>) => void): void {
    const { faults, scheduler, scenario } = this.#world;
    const { intensity } = scenario;
    const prng = this.#prng;
    const cut = this.#world.faultSchedule.cutOf(this.#machine);
    const isUnsent = faults.occurs('unsent', prng, intensity / 2);
    const isLost = faults.occurs('lostRequest', prng, intensity);
    const isLate = faults.occurs('late', prng, intensity + (cut === undefined ? 0 : 0.3));
    const isRepeated = faults.occurs('repeated', prng, intensity);
    const lateMs = prng.skewed(10, 9_000);
    const requestMs = this.#delay();
    if (isUnsent || cut === 'refused') {
      scheduler.after(
        prng.between(1, 20),
        () => {
          answer({ kind: 'unsent' });
        },
        this.#machine,
      );
      return;
    }
    this.#countRequest();
    const isSwallowed = this.#connection === 'deaf';
    this.#log(() => `${describe()}${isLost || isSwallowed || cut !== undefined ? ', lost' : ''}`);
    if (isLate || (isRepeated && !once))
      this.#applyLate(describe, apply, requestMs + Math.min(lateMs, this.#world.lastEffectMs - scheduler.nowMs));
    if (isLost || isLate || isSwallowed || cut !== undefined) return;
    scheduler.after(requestMs, () => {
      this.#arrive(describe, apply, answer);
    });
  }

  #arrive<T>(describe: () => string, apply: () => T, answer: (outcome: Outcome<T>) => void): void {
    const { faults, scheduler, record } = this.#world;
    if (this.#world.faultSchedule.cutOf(this.#machine) !== undefined) return;
    const outcome = this.#world.faultSchedule.hasWrongPassword(this.#machine)
      ? ({ kind: 'refused', error: new EtcdAuthError('locks/', 'etcdserver: authentication failed, invalid user ID or password') } as const)
      : attempt(apply);
    const answeredAt = record.revision;
    const answerMs = this.#delay();
    this.#world.faultSchedule.injectWhileAnswering(this.#machine, this.#prng, 0.003);
    if (faults.occurs('lostAnswer', this.#prng, this.#world.scenario.intensity)) {
      this.#log(() => `response lost: ${describe()}`);
      return;
    }
    scheduler.after(
      answerMs,
      () => {
        if (this.isDead || this.#world.faultSchedule.cutOf(this.#machine) !== undefined) return;
        this.answeredAt = answeredAt;
        this.#log(() => `answered${outcome.kind === 'refused' ? ` ${String(outcome.error)}` : ''}: ${describe()}`);
        answer(outcome);
      },
      this.#machine,
    );
  }

  #applyLate(describe: () => string, apply: () => unknown, delayMs: number): void {
    this.#world.scheduler.after(delayMs, () => {
      this.#log(() => `applied late: ${describe()}`);
      attempt(apply);
    });
  }

  #delay(): number {
    const { faults, scenario } = this.#world;
    const usualMs = this.#prng.between(0.3, 4);
    const moreMs = this.#prng.skewed(10, 2_000);
    return faults.occurs('delay', this.#prng, scenario.intensity * 2) ? usualMs + moreMs : usualMs;
  }

  #log(describe: () => string): void {
    this.#world.history.add(this.#source, describe);
  }
}

function attempt<T>(apply: () => T): Outcome<T> {
  try {
    return { kind: 'answer', value: apply() };
  } catch (error) {
    return { kind: 'refused', error };
  }
}
