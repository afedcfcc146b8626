/** The settings of a run. All of them come from the seed, except the reductions. */
import { type FaultKind, faultKinds } from './faults.ts';
import { Prng } from './prng.ts';

export interface Scenario {
  readonly seed: number;
  readonly kinds: readonly FaultKind[];
  /** The probability of each network fault for each message. */
  readonly intensity: number;
  /** The probability of a machine fault while a grant or a renewal is answered, because the deadline is computed there. */
  readonly leaseFaultProbability: number;
  readonly lockers: number;
  /** The callers of each locker. */
  readonly callers: number;
  readonly names: readonly [string, ...string[]];
  readonly ttlsMs: readonly [number, ...number[]];
  /** The slots that callers ask for. 1 is exclusive, Infinity is shared. */
  readonly slots: readonly [number, ...number[]];
  readonly requestTimeoutMs: number;
  /** The time in which faults occur. */
  readonly chaosMs: number;
  readonly pauseMs: number;
  readonly holdMs: number;
  /** The fraction by which clocks may run too fast or too slow. */
  readonly drift: number;
  /** The share of exclusive calls with a minimum hold. */
  readonly minimumHoldShare: number;
  /** What the lockers and the calls of the run keep after a release. */
  readonly keep: Keep;
  /** The share of the holds whose caller reads `wanted`. */
  readonly wantedShare: number;
  /** Whether the run waits until all kept entries are given back before it closes the lockers. */
  readonly waitsForKept: boolean;
  /** Whether the judge reads `held` at every step. Otherwise it relies on the signal, like code that never reads `held`. */
  readonly readsHeld: boolean;
  /** Whether the run waits until idle sessions have ended before it closes the lockers. */
  readonly waitsUntilIdle: boolean;
}

interface Keep {
  /** The `keepMs` of keepers. 0 if the run has none. */
  readonly ms: number;
  /** The share of the lockers with `keepMs`, and of the calls with one of their own. */
  readonly lockerShare: number;
  readonly callShare: number;
  /** The share of the calls for the name that a process prefers. Names that several processes want are hardly kept. */
  readonly affinity: number;
}

/** Reductions of a seed's scenario, which make a failing run shorter. */
export interface Reductions {
  readonly without?: readonly FaultKind[];
  readonly lockers?: number;
  readonly callers?: number;
  readonly names?: number;
  readonly chaosMs?: number;
  /** Whether each run has keepers. It is no reduction: the run is another one. */
  readonly keepers?: boolean;
}

const allNames = ['a', 'b', 'c'] as const;

export function scenarioOf(seed: number, reductions: Reductions = {}): Scenario {
  const prng = new Prng(seed).fork('scenario');
  // Many kinds at once hide some bugs, so most runs have only a few kinds.
  const share = prng.pick([0.15, 0.3, 0.3, 0.5, 0.7, 1]);
  // A restore makes most rules pause, so most runs have none.
  const hasRestores = new Prng(seed).fork('restores').chance(0.4);
  const hasLateWatches = new Prng(seed).fork('late watches').chance(0.3);
  const kinds = faultKinds.filter((kind) =>
    kind === 'lateWatch' ? hasLateWatches : prng.chance(share) && (kind !== 'restore' || hasRestores),
  );
  const lockers = prng.pick([1, 2, 2, 3, 3, 4]);
  const callers = prng.pick([1, 2, 2, 3, 4]);
  const names = prng.pick([1, 1, 2, 2, 3]);
  const ttlsMs = prng.pick<readonly [number, ...number[]]>([[2_000], [3_000], [4_000, 2_000], [6_000], [8_000], [10_000, 3_000]]);
  const chaosMs = prng.pick([5_000, 10_000, 10_000, 20_000]);
  // A separate stream, so that this draw does not shift the others.
  const drawnSlots = new Prng(seed)
    .fork('slots')
    .pick<readonly [number, ...number[]]>([[1], [1], [1, Infinity], [1, 2, Infinity], [2], [1, 2, 3, Infinity]]);
  const keep = keepOf(new Prng(seed).fork('keep'), ttlsMs[0], reductions.keepers === true);
  // Only exclusive locks are kept.
  const areExclusive = keep.ms > 0 && new Prng(seed).fork('exclusive').chance(0.5);
  const slots = areExclusive ? ([1] as const) : keep.ms === 0 || drawnSlots.includes(1) ? drawnSlots : ([1, 2] as const);
  const reduced = <T extends number>(given: T | undefined, own: T): number => Math.min(given ?? own, own);
  const chosen = allNames.slice(1, reduced(reductions.names, names));
  return {
    seed,
    kinds: kinds.filter((kind) => reductions.without?.includes(kind) !== true),
    intensity: prng.pick([0.01, 0.03, 0.08, 0.15]),
    leaseFaultProbability: prng.pick([0.01, 0.05, 0.05, 0.25]),
    lockers: reduced(reductions.lockers, lockers),
    callers: reduced(reductions.callers, callers),
    names: [allNames[0], ...chosen],
    ttlsMs,
    slots,
    requestTimeoutMs: prng.pick([400, 1_000, 1_000, 2_500]),
    chaosMs: reduced(reductions.chaosMs, chaosMs),
    pauseMs: prng.pick([50, 300, 300, 1_500]),
    holdMs: prng.pick([20, 200, 200, 1_500, 10_000]),
    drift: prng.pick([0, 0.02]),
    minimumHoldShare: new Prng(seed).fork('minimum').pick([0, 0, 0, 0.2, 0.6]),
    keep,
    wantedShare: new Prng(seed).fork('wanted').pick([0, 0, 0.3, 0.8]),
    waitsForKept: new Prng(seed).fork('waits for kept').chance(0.5),
    readsHeld: prng.chance(0.5),
    waitsUntilIdle: prng.chance(0.2),
  };
}

/** Two fifths of the runs have keepers: all lockers, some of them, or some calls alone. */
function keepOf(prng: Prng, ttlMs: number, isForced: boolean): Keep {
  const isKeeping = prng.chance(0.4) || isForced;
  const ms = prng.pick([30, 300, 1_000, 3_000, ttlMs / 2, 2 * ttlMs]);
  const [lockerShare, callShare] = prng.pick<readonly [number, number]>([
    [1, 0],
    [1, 0.2],
    [0.5, 0],
    [0.5, 0.3],
    [0, 0.6],
  ]);
  const affinity = prng.pick([0, 0.7, 0.95]);
  return isKeeping ? { ms, lockerShare, callShare, affinity } : { ms: 0, lockerShare: 0, callShare: 0, affinity: 0 };
}
