/** The kinds of faults, the kinds that one run has, and how often each has occurred. */
import type { Prng } from './prng.ts';

export const faultKinds = [
  // requests and responses
  'delay',
  'lostRequest',
  'lostAnswer',
  'late',
  'repeated',
  'unsent',
  'deadConnection',
  'neverConnected',
  // etcd
  'formerLeader',
  'unknownLease',
  'leaderChange',
  'staleKeys',
  'outage',
  'noSpace',
  'wrongPassword',
  'restore',
  // watches
  'watchBreak',
  'watchLag',
  'lostEvent',
  'lateWatch',
  // machines
  'freeze',
  'sleep',
  'wallForward',
  'wallBack',
  'cut',
  'crash',
  'close',
  // callers
  'abort',
  'timeout',
  // outsiders
  'deletedEntry',
  'deletedGate',
  'revokedLease',
  'foreign',
] as const;

export type FaultKind = (typeof faultKinds)[number];

/** Callers still abort and time out after the faults have ended. */
const callerActions: ReadonlySet<FaultKind> = new Set(['abort', 'timeout']);

export class Faults {
  readonly #kinds: ReadonlySet<FaultKind>;
  readonly #counts = new Map<FaultKind, number>();
  #isOver = false;

  constructor(kinds: Iterable<FaultKind>) {
    this.#kinds = new Set(kinds);
  }

  get counts(): ReadonlyMap<FaultKind, number> {
    return this.#counts;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether the fault occurs now. It always draws a number, so that leaving out a kind does not shift the other draws. */
  occurs(kind: FaultKind, prng: Prng, probability: number): boolean {
    const isDrawn = prng.chance(probability);
    if (!isDrawn || !this.#kinds.has(kind) || (this.#isOver && !callerActions.has(kind))) return false;
    this.count(kind);
    return true;
  }

  count(kind: FaultKind): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
  }

  end(): void {
    this.#isOver = true;
  }
}
