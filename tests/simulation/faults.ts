/** What can go wrong, which of it does in this run, and how often it did. */
import type { Prng } from './prng.ts';

export const faultKinds = [
  // on the way
  'delay',
  'lostRequest',
  'lostAnswer',
  'late',
  'repeated',
  'unsent',
  // in etcd
  'formerLeader',
  'unknownLease',
  'leaderChange',
  'staleKeys',
  'outage',
  // under a watch
  'watchBreak',
  'watchLag',
  'lostEvent',
  // on a machine
  'freeze',
  'sleep',
  'wallForward',
  'wallBack',
  'cut',
  'crash',
  'close',
  // by callers
  'abort',
  'timeout',
  // by others
  'deletedEntry',
  'deletedGate',
  'revokedLease',
  'foreign',
] as const;

export type FaultKind = (typeof faultKinds)[number];

/** What callers do of their own accord goes on when nothing goes wrong. */
const ownDoings: ReadonlySet<FaultKind> = new Set(['abort', 'timeout']);

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

  /** Whether it happens now. Draws in any case, so that leaving out a kind shifts nothing else. */
  strikes(kind: FaultKind, prng: Prng, probability: number): boolean {
    const isHit = prng.chance(probability);
    if (!isHit || !this.#kinds.has(kind) || (this.#isOver && !ownDoings.has(kind))) return false;
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
