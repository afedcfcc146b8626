/**
 * Judges a scenario by the histories of all its clients.
 *
 * A hold counts from the first reading of `held` to the last. Both clock readings lie inside the hold. So an overlap in the
 * history is a real overlap, even if a process ran or wrote its line late.
 */
import { gapsOf } from './gaps.ts';
import { inOrder, type Event } from './history.ts';
import { holdsOf, type Held } from './holds.ts';

export type Rule = 'overlap' | 'token order' | 'final' | 'signal' | 'lost increment' | 'liveness' | 'error' | 'state order';

export interface Violation {
  readonly rule: Rule;
  readonly message: string;
}

export interface Verdict {
  readonly violations: readonly Violation[];
  readonly figures: Figures;
}

export interface Figures {
  readonly faults: number;
  /** The number of acquired locks. Each lock of lockAll counts. */
  readonly locks: number;
  readonly losses: number;
  readonly increments: number;
  /** The guarded writes that etcd refused, because the writer had lost its lock. */
  readonly refusedWrites: number;
  /** The longest time in which a name was wanted and no client was certain to hold it. */
  readonly longestGapMs: number;
}

export interface Limits {
  /** The longest time that a wanted name may be without a certain holder. */
  readonly boundMs: number;
  /** The error codes with which lock() may reject in an outage. */
  readonly allowedCodes?: readonly string[];
  /** The time by which holds may overlap after etcd has revoked a live lease. @default 0 */
  readonly maxOverlapMs?: number;
}

export function judge(history: readonly Event[], { boundMs, allowedCodes = ['ETCD_UNAVAILABLE'], maxOverlapMs = 0 }: Limits): Verdict {
  const events = inOrder(history);
  const violations: Violation[] = [];
  const report = (rule: Rule, message: string): void => {
    violations.push({ rule, message });
  };

  const holds = holdsOf(events, (message) => {
    report('final', message);
  });
  for (const name of new Set(holds.map((hold) => hold.name))) {
    const mine = holds.filter((hold) => hold.name === name);
    judgeOverlaps(mine, maxOverlapMs, report);
    judgeTokens(mine, report);
  }
  for (const event of events) {
    if (event.step === 'lost' && !event.aborted) report('signal', `${label(event)}: held was false, but the signal had not aborted`);
    if (event.step === 'release-failed') report('error', `${label(event)}: release() rejected with ${event.code}`);
    if (event.step === 'rejected' && !allowedCodes.includes(event.code))
      report('error', `${label(event)}: a call rejected with ${event.code}`);
  }
  judgeIncrements(events, report);
  judgeStates(events, report);
  const gaps = gapsOf(events, holds);
  for (const gap of gaps.filter(({ ms }) => ms > boundMs)) {
    report(
      'liveness',
      `${gap.name} was without a holder for ${gap.ms.toFixed(0)} ms from ${gap.from.toFixed(1)} on, bound ${boundMs.toFixed(0)} ms`,
    );
  }

  const count = (step: Event['step']): number => events.filter((event) => event.step === step).length;
  const additions = events.filter((event) => event.step === 'added');
  return {
    violations,
    figures: {
      faults: count('fault'),
      locks: events.reduce((sum, event) => sum + (event.step === 'held' ? event.holds.length : 0), 0),
      losses: count('lost'),
      increments: additions.filter(({ outcome }) => outcome === 'written').length,
      refusedWrites: additions.filter(({ outcome }) => outcome === 'refused').length,
      longestGapMs: Math.max(0, ...gaps.map(({ ms }) => ms)),
    },
  };
}

type Report = (rule: Rule, message: string) => void;

const label = ({ at, client }: Event): string => `${client} at ${at.toFixed(1)}`;
const describe = ({ client, token, from, until }: Held): string =>
  `${client} with token ${String(token)} (${from.toFixed(1)} to ${until.toFixed(1)})`;

/** At any time all certain holders are of one kind, and no more than its slots. `holds` is in the order of `from`. */
function judgeOverlaps(holds: readonly Held[], maxMs: number, report: Report): void {
  let certain: Held[] = [];
  for (const hold of holds) {
    certain = certain.filter(({ until }) => until - maxMs > hold.from);
    const otherKinds = certain.filter(({ slots }) => slots !== hold.slots);
    const others = otherKinds.length > 0 || certain.length >= hold.slots ? [...otherKinds, ...certain] : [];
    if (others[0] !== undefined) report('overlap', `${hold.name}: ${describe(others[0])} and ${describe(hold)}`);
    certain.push(hold);
  }
}

/** A holder has a higher token than each earlier holder that it excludes. No two holders have the same token. */
function judgeTokens(holds: readonly Held[], report: Report): void {
  const highest = new Map<number, Held>();
  const seen = new Map<bigint, Held>();
  for (const hold of holds) {
    const same = seen.get(hold.token);
    if (same !== undefined) report('token order', `${hold.name}: ${describe(same)} and ${describe(hold)} have the same token`);
    seen.set(hold.token, hold);
    for (const [slots, before] of highest) {
      const excludes = slots !== hold.slots || slots === 1;
      if (excludes && before.token > hold.token) report('token order', `${hold.name}: ${describe(hold)} after ${describe(before)}`);
    }
    const before = highest.get(hold.slots);
    if (before === undefined || before.token < hold.token) highest.set(hold.slots, hold);
  }
}

/** Each value of a counter is written once, in the order of the tokens. No value is missing at the end. */
function judgeIncrements(events: readonly Event[], report: Report): void {
  const totals = new Map(events.flatMap((event) => (event.step === 'total' ? [[event.name, event.value] as const] : [])));
  const additions = events.filter((event) => event.step === 'added');
  for (const name of new Set(additions.map((event) => event.name))) {
    const mine = additions.filter((event) => event.name === name);
    const written = mine.filter(({ outcome }) => outcome === 'written').sort((a, b) => a.before - b.before);
    const unknown = new Set(mine.filter(({ outcome }) => outcome === 'unknown').map(({ before }) => before));
    for (const before of unconfirmedWrites(events, name)) unknown.add(before);
    written.forEach((event, index) => {
      const last = written[index - 1];
      if (last === undefined) return;
      const pair = `${name}: ${label(last)} and ${label(event)}`;
      if (last.before === event.before) report('lost increment', `${pair} both wrote ${String(event.before + 1)}`);
      if (BigInt(last.token) > BigInt(event.token)) report('token order', `${pair} wrote in the reverse order of their tokens`);
    });
    const total = totals.get(name);
    if (total === undefined) continue;
    const values = new Set(written.map(({ before }) => before));
    const missing = Array.from({ length: total }, (_, value) => value).filter((value) => !values.has(value) && !unknown.has(value));
    if (missing.length > 0)
      report('lost increment', `${name}: no client wrote ${String((missing[0] ?? 0) + 1)}, but the counter is ${String(total)}`);
    const highest = Math.max(-1, ...values) + 1;
    if (total < highest) report('lost increment', `${name} the counter is ${String(total)}, but ${String(highest)} was written`);
  }
}

/** Returns the writes of clients that were killed before they logged the outcome. */
function unconfirmedWrites(events: readonly Event[], name: string): number[] {
  const last = new Map<string, Event>();
  for (const event of events) if (event.step === 'adding' || event.step === 'added') last.set(event.client, event);
  return [...last.values()].flatMap((event) => (event.step === 'adding' && event.name === name ? [event.before] : []));
}

/** A watcher gets states in the order of revisions, and the tokens of the holders rise. */
function judgeStates(events: readonly Event[], report: Report): void {
  const last = new Map<string, { readonly revision: bigint; readonly token: bigint }>();
  for (const event of events) {
    if (event.step !== 'state') continue;
    const key = `${event.client} ${event.name}`;
    const before = last.get(key);
    const revision = BigInt(event.revision);
    const token = event.holders.map(BigInt).reduce((a, b) => (a > b ? a : b), before?.token ?? 0n);
    if (before !== undefined && revision < before.revision)
      report('state order', `${label(event)}: the state of revision ${event.revision} came after a newer one`);
    if (event.holders.some((holder) => BigInt(holder) < (before?.token ?? 0n)))
      report('state order', `${label(event)}: a state has a holder with an old token`);
    last.set(key, { revision, token });
  }
}

/** A process must end without an error, unless it was killed. */
export function judgeEnding(
  client: string,
  ending: { readonly code: number | null; readonly stderr: string },
  wasKilled: boolean,
): Violation[] {
  if (wasKilled || (ending.code === 0 && ending.stderr === '')) return [];
  return [{ rule: 'error', message: `${client} ended with ${String(ending.code)}: ${ending.stderr}` }];
}
