/**
 * Judges what all clients of a scenario did, from their histories alone.
 *
 * A hold counts from the first reading of `held` to the last, both as clock readings that lie inside of it. So what looks like an
 * overlap is one, however late a process ran or told.
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
  /** How many locks were taken, those of lockAll counted one by one. */
  readonly locks: number;
  readonly losses: number;
  readonly increments: number;
  /** Guarded writes that etcd refused, as it must once the lock is another's. */
  readonly refusedWrites: number;
  /** The longest time in which a name was wanted and nobody was certain to hold it. */
  readonly longestGapMs: number;
}

export interface Terms {
  /** No name that is wanted may be without a certain holder for longer. */
  readonly boundMs: number;
  /** Codes of errors with which lock() may reject where etcd is away. */
  readonly allowed?: readonly string[];
  /** For how long one may still believe whose lease etcd has revoked though it was alive. @default 0 */
  readonly mostOverlapMs?: number;
}

export function judge(history: readonly Event[], { boundMs, allowed = ['ETCD_UNAVAILABLE'], mostOverlapMs = 0 }: Terms): Verdict {
  const events = inOrder(history);
  const violations: Violation[] = [];
  const found = (rule: Rule, message: string): void => {
    violations.push({ rule, message });
  };

  const holds = holdsOf(events, (message) => {
    found('final', message);
  });
  for (const name of new Set(holds.map((hold) => hold.name))) {
    const mine = holds.filter((hold) => hold.name === name);
    judgeOverlaps(mine, mostOverlapMs, found);
    judgeTokens(mine, found);
  }
  for (const event of events) {
    if (event.step === 'lost' && !event.aborted) found('signal', `${tell(event)}: held was false and the signal had not aborted`);
    if (event.step === 'unreleased') found('error', `${tell(event)}: release() rejected with ${event.code}`);
    if (event.step === 'refused' && !allowed.includes(event.code)) found('error', `${tell(event)}: a call rejected with ${event.code}`);
  }
  judgeIncrements(events, found);
  judgeStates(events, found);
  const gaps = gapsOf(events, holds);
  for (const gap of gaps.filter(({ ms }) => ms > boundMs)) {
    found(
      'liveness',
      `${gap.name} had no holder for ${gap.ms.toFixed(0)} ms from ${gap.from.toFixed(1)} on, bound ${boundMs.toFixed(0)} ms`,
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

type Found = (rule: Rule, message: string) => void;

const tell = ({ at, client }: Event): string => `${client} at ${at.toFixed(1)}`;
const describe = ({ client, token, from, until }: Held): string =>
  `${client} with token ${String(token)} (${from.toFixed(1)} to ${until.toFixed(1)})`;

/** Of all that are certain at one time: one kind only, and no more than its slots. `holds` is in the order of `from`. */
function judgeOverlaps(holds: readonly Held[], mostMs: number, found: Found): void {
  let certain: Held[] = [];
  for (const hold of holds) {
    certain = certain.filter(({ until }) => until - mostMs > hold.from);
    const strangers = certain.filter(({ slots }) => slots !== hold.slots);
    const others = strangers.length > 0 || certain.length >= hold.slots ? [...strangers, ...certain] : [];
    if (others[0] !== undefined) found('overlap', `${hold.name}: ${describe(others[0])} and ${describe(hold)}`);
    certain.push(hold);
  }
}

/** Who is certain after another that excludes it has the higher token; no two have the same. */
function judgeTokens(holds: readonly Held[], found: Found): void {
  const highest = new Map<number, Held>();
  const seen = new Map<bigint, Held>();
  for (const hold of holds) {
    const same = seen.get(hold.token);
    if (same !== undefined) found('token order', `${hold.name}: ${describe(same)} and ${describe(hold)} have the same token`);
    seen.set(hold.token, hold);
    for (const [slots, before] of highest) {
      const excludes = slots !== hold.slots || slots === 1;
      if (excludes && before.token > hold.token) found('token order', `${hold.name}: ${describe(hold)} after ${describe(before)}`);
    }
    const before = highest.get(hold.slots);
    if (before === undefined || before.token < hold.token) highest.set(hold.slots, hold);
  }
}

/** Each value of a counter was written once, in the order of the tokens, and none is missing in the end. */
function judgeIncrements(events: readonly Event[], found: Found): void {
  const totals = new Map(events.flatMap((event) => (event.step === 'total' ? [[event.name, event.value] as const] : [])));
  const additions = events.filter((event) => event.step === 'added');
  for (const name of new Set(additions.map((event) => event.name))) {
    const mine = additions.filter((event) => event.name === name);
    const written = mine.filter(({ outcome }) => outcome === 'written').sort((a, b) => a.before - b.before);
    const maybe = new Set(mine.filter(({ outcome }) => outcome === 'unknown').map(({ before }) => before));
    for (const before of unheardOf(events, name)) maybe.add(before);
    written.forEach((event, index) => {
      const last = written[index - 1];
      if (last === undefined) return;
      const pair = `${name}: ${tell(last)} and ${tell(event)}`;
      if (last.before === event.before) found('lost increment', `${pair} both made ${String(event.before + 1)} of ${String(event.before)}`);
      if (BigInt(last.token) > BigInt(event.token)) found('token order', `${pair} wrote in the order of their tokens reversed`);
    });
    const total = totals.get(name);
    if (total === undefined) continue;
    const made = new Set(written.map(({ before }) => before));
    const missing = Array.from({ length: total }, (_, value) => value).filter((value) => !made.has(value) && !maybe.has(value));
    if (missing.length > 0)
      found('lost increment', `${name}: nobody made ${String((missing[0] ?? 0) + 1)}, and it stands at ${String(total)}`);
    const most = Math.max(-1, ...made) + 1;
    if (total < most) found('lost increment', `${name} stands at ${String(total)}, and was made ${String(most)}`);
  }
}

/** What was being written by those who were killed before they could tell. */
function unheardOf(events: readonly Event[], name: string): number[] {
  const last = new Map<string, Event>();
  for (const event of events) if (event.step === 'adding' || event.step === 'added') last.set(event.client, event);
  return [...last.values()].flatMap((event) => (event.step === 'adding' && event.name === name ? [event.before] : []));
}

/** A watcher is told states in the order of revisions, and the holders that it sees have rising tokens. */
function judgeStates(events: readonly Event[], found: Found): void {
  const last = new Map<string, { readonly revision: bigint; readonly token: bigint }>();
  for (const event of events) {
    if (event.step !== 'state') continue;
    const key = `${event.client} ${event.name}`;
    const before = last.get(key);
    const revision = BigInt(event.revision);
    const token = event.holders.map(BigInt).reduce((a, b) => (a > b ? a : b), before?.token ?? 0n);
    if (before !== undefined && revision < before.revision)
      found('state order', `${tell(event)}: a state of revision ${event.revision} came late`);
    if (event.holders.some((holder) => BigInt(holder) < (before?.token ?? 0n))) found('state order', `${tell(event)}: a holder came back`);
    last.set(key, { revision, token });
  }
}

/** How a process ended is judged too: without an error, unless it was killed. */
export function judgeEnding(
  client: string,
  ending: { readonly code: number | null; readonly stderr: string },
  wasKilled: boolean,
): Violation[] {
  if (wasKilled || (ending.code === 0 && ending.stderr === '')) return [];
  return [{ rule: 'error', message: `${client} ended with ${String(ending.code)}: ${ending.stderr}` }];
}
