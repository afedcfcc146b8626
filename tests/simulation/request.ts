/**
 * One request on its way to etcd and back: when it arrives, if at all, when its answer does, and what arrives besides.
 *
 * Whatever is sent may be applied at any later time: after its sender gave up, after its repetition was answered, after all that
 * followed. That is what a member does that was frozen with the request in its hands.
 */
import type { Machine } from './machine.ts';
import type { Prng } from './prng.ts';
import type { World } from './world.ts';

export type Outcome<T> =
  | { readonly kind: 'answer'; readonly value: T }
  | { readonly kind: 'refused'; readonly error: unknown }
  /** It provably never left. */
  | { readonly kind: 'unsent' }
  /** No answer in time: applied, or not, or not yet. */
  | { readonly kind: 'silence' };

export class Wire {
  readonly #world: World;
  readonly #machine: Machine;
  readonly #prng: Prng;
  readonly #who: string;
  /** The revision at which the answer that was delivered last had been given. */
  answeredAt = 0n;

  constructor(world: World, machine: Machine, prng: Prng, who: string) {
    this.#world = world;
    this.#machine = machine;
    this.#prng = prng;
    this.#who = who;
  }

  /** One try; `tryMs` is how long its sender waits for an answer. What is sent `once` is applied once at most. */
  send<T>(what: () => string, apply: () => T, tryMs: number, once = false): Promise<Outcome<T>> {
    return new Promise((resolve) => {
      const cancel = this.#machine.after(tryMs, () => {
        this.#tell(() => `no answer to: ${what()}`);
        resolve({ kind: 'silence' });
      });
      this.#send(what, apply, once, (outcome) => {
        cancel();
        resolve(outcome);
      });
    });
  }

  #send<T>(what: () => string, apply: () => T, once: boolean, answer: (outcome: Outcome<T>) => void): void {
    const { faults, scheduler, scenario } = this.#world;
    const { intensity } = scenario;
    const prng = this.#prng;
    const cut = this.#world.weather.cutOf(this.#machine);
    const isUnsent = faults.strikes('unsent', prng, intensity / 2);
    const isLost = faults.strikes('lostRequest', prng, intensity);
    const isLate = faults.strikes('late', prng, intensity + (cut === undefined ? 0 : 0.3));
    const isRepeated = faults.strikes('repeated', prng, intensity);
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
    this.#tell(() => `${what()}${isLost || cut !== undefined ? ', lost' : ''}`);
    if (isLate || (isRepeated && !once)) this.#applyLate(what, apply, requestMs + Math.min(lateMs, this.#world.latestMs - scheduler.nowMs));
    if (isLost || isLate || cut !== undefined) return;
    scheduler.after(requestMs, () => {
      this.#arrive(what, apply, answer);
    });
  }

  #arrive<T>(what: () => string, apply: () => T, answer: (outcome: Outcome<T>) => void): void {
    const { faults, scheduler, record } = this.#world;
    if (this.#world.weather.cutOf(this.#machine) !== undefined) return;
    const outcome = attempt(apply);
    const answeredAt = record.revision;
    const answerMs = this.#delay();
    this.#world.weather.strike(this.#machine, this.#prng, 0.003);
    if (faults.strikes('lostAnswer', this.#prng, this.#world.scenario.intensity)) {
      this.#tell(() => `the answer is lost: ${what()}`);
      return;
    }
    scheduler.after(
      answerMs,
      () => {
        if (this.#world.weather.cutOf(this.#machine) !== undefined) return;
        this.answeredAt = answeredAt;
        this.#tell(() => `answered${outcome.kind === 'refused' ? ` ${String(outcome.error)}` : ''}: ${what()}`);
        answer(outcome);
      },
      this.#machine,
    );
  }

  #applyLate(what: () => string, apply: () => unknown, delayMs: number): void {
    this.#world.scheduler.after(delayMs, () => {
      this.#tell(() => `applied late: ${what()}`);
      attempt(apply);
    });
  }

  #delay(): number {
    const { faults, scenario } = this.#world;
    const usualMs = this.#prng.between(0.3, 4);
    const moreMs = this.#prng.skewed(10, 2_000);
    return faults.strikes('delay', this.#prng, scenario.intensity * 2) ? usualMs + moreMs : usualMs;
  }

  #tell(what: () => string): void {
    this.#world.history.tell(this.#who, what);
  }
}

function attempt<T>(apply: () => T): Outcome<T> {
  try {
    return { kind: 'answer', value: apply() };
  } catch (error) {
    return { kind: 'refused', error };
  }
}
