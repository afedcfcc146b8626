/** What a run is made of: all of it from the seed, unless something is left out or given. */
import { type FaultKind, faultKinds } from './faults.ts';
import { Prng } from './prng.ts';

export interface Scenario {
  readonly seed: number;
  readonly kinds: readonly FaultKind[];
  /** How likely each message meets each fault of the way. */
  readonly intensity: number;
  /** How likely something befalls a machine while a grant or a renewal is answered: what is believed of time is made there. */
  readonly leaseStrike: number;
  readonly lockers: number;
  /** Of each locker. */
  readonly callers: number;
  readonly names: readonly [string, ...string[]];
  readonly ttlsMs: readonly [number, ...number[]];
  /** The kinds that are asked for; most runs mix none or all of them. */
  readonly slots: readonly [number, ...number[]];
  readonly requestTimeoutMs: number;
  /** How long faults are injected. */
  readonly chaosMs: number;
  readonly pauseMs: number;
  readonly holdMs: number;
  /** By how much, as a fraction, clocks may run too fast or too slow. */
  readonly drift: number;
  /** Reads `held` at every step, or goes by the signal alone, as code does that never asks. */
  readonly readsHeld: boolean;
  /** Waits at the end until the idle sessions have gone by themselves before it closes. */
  readonly endsIdle: boolean;
}

/** What makes a failing run shorter: less of something than its seed says. */
export interface Reductions {
  readonly without?: readonly FaultKind[];
  readonly lockers?: number;
  readonly callers?: number;
  readonly names?: number;
  readonly chaosMs?: number;
}

const allNames = ['a', 'b', 'c'] as const;

export function scenarioOf(seed: number, reductions: Reductions = {}): Scenario {
  const prng = new Prng(seed).fork('scenario');
  // Few kinds at once find what many at once hide, so most runs have some only.
  const share = prng.pick([0.15, 0.3, 0.3, 0.5, 0.7, 1]);
  const kinds = faultKinds.filter(() => prng.chance(share));
  const lockers = prng.pick([1, 2, 2, 3, 3, 4]);
  const callers = prng.pick([1, 1, 2, 2, 3]);
  const names = prng.pick([1, 1, 1, 2, 3]);
  const ttlsMs = prng.pick<readonly [number, ...number[]]>([[2_000], [3_000], [4_000, 2_000], [6_000], [8_000], [10_000, 3_000]]);
  const chaosMs = prng.pick([5_000, 10_000, 10_000, 20_000]);
  // A draw of its own, so that it shifts no other.
  const slots = new Prng(seed)
    .fork('slots')
    .pick<readonly [number, ...number[]]>([[1], [1], [1, Infinity], [1, 2, Infinity], [2], [1, 2, 3, Infinity]]);
  const wanted = <T extends number>(given: T | undefined, own: T): number => Math.min(given ?? own, own);
  const chosen = allNames.slice(1, wanted(reductions.names, names));
  return {
    seed,
    kinds: kinds.filter((kind) => reductions.without?.includes(kind) !== true),
    intensity: prng.pick([0.01, 0.03, 0.08, 0.15]),
    leaseStrike: prng.pick([0.01, 0.05, 0.05, 0.25]),
    lockers: wanted(reductions.lockers, lockers),
    callers: wanted(reductions.callers, callers),
    names: [allNames[0], ...chosen],
    ttlsMs,
    slots,
    requestTimeoutMs: prng.pick([400, 1_000, 1_000, 2_500]),
    chaosMs: wanted(reductions.chaosMs, chaosMs),
    pauseMs: prng.pick([50, 300, 300, 1_500]),
    holdMs: prng.pick([20, 200, 200, 1_500, 10_000]),
    drift: prng.pick([0, 0.02]),
    readsHeld: prng.chance(0.5),
    endsIdle: prng.chance(0.2),
  };
}
