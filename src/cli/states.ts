/** Formats the state of locks: tables for people, JSON for programs. */
import type { Contender, LockDetails, LockState } from 'etcd-locker';
import { escapeControls } from '../text.ts';
import { formatCell, formatTable } from './table.ts';

/**
 * Returns one line of JSON. Revisions, tokens and leases are decimal strings, because a JSON number is not exact above 2^53.
 * `slots` is null if any number of holders may share the lock.
 */
export function toJson(state: LockState | LockDetails | Broken): string {
  const text = JSON.stringify(state, (_, value: unknown) => {
    if (typeof value === 'bigint') return String(value);
    return value === Infinity ? null : value;
  });
  // JSON.stringify does not escape C1 and direction controls.
  return `${escapeControls(text)}\n`;
}

/** What `etcd-locker break` has done. */
export interface Broken {
  readonly name: string;
  readonly removed: readonly Contender[];
}

export function formatDetails({ name, held, holders, waiters, revision }: LockDetails): string {
  const title = `${formatCell(name)} is ${held ? 'held' : 'free'}, as of revision ${String(revision)}\n`;
  return held ? `${title}\n${formatContenders(holders, waiters)}` : title;
}

/** Returns a table with a row for each contender. */
export function formatContenders(holders: readonly Contender[], waiters: readonly Contender[] = []): string {
  const toRow = (place: string, contender: Contender): string[] => [
    place,
    formatKind(contender),
    String(contender.fencingToken),
    formatLease(contender),
    formatLeft(contender),
    formatCell(contender.value),
    escapeControls(contender.key),
  ];
  return formatTable([
    ['PLACE', 'KIND', 'TOKEN', 'LEASE', 'LEFT', 'VALUE', 'KEY'],
    ...holders.map((one) => toRow('holds', one)),
    ...waiters.map((one, index) => toRow(`waits ${String(index + 1)}`, one)),
  ]);
}

export function formatList(states: readonly LockState[]): string {
  return formatTable([
    ['NAME', 'KIND', 'HOLDERS', 'WAITING', 'TOKEN', 'LEFT', 'VALUE'],
    ...states.map(({ name, holders, waiting }) => [
      formatCell(name),
      holders[0] === undefined ? '-' : formatKind(holders[0]),
      String(holders.length),
      String(waiting),
      String(holders[0]?.fencingToken ?? '-'),
      holders[0] === undefined ? '-' : formatLeft(holders[0]),
      formatValues(holders),
    ]),
  ]);
}

// Fixed widths: each line is printed before the next state is known.
const timeColumn = 26;
const countColumn = 9;
const nameColumn = 26;

const formatLine = (time: string, waiting: string, name: string | undefined, holders: string): string =>
  `${time.padEnd(timeColumn)}${waiting.padEnd(countColumn)}${name === undefined ? '' : `${name}  `.padEnd(nameColumn)}${holders}\n`;

/** @param hasNames whether the lines are about several names */
export const changeHeader = (hasNames: boolean): string => formatLine('TIME', 'WAITING', hasNames ? 'NAME' : undefined, 'HOLDERS');

/** Returns one line under `changeHeader`. */
export function formatChange({ name, holders, waiting, current }: LockState, now: Date, hasNames: boolean): string {
  const age = current ? '' : '  (etcd is silent: this may be old)';
  return formatLine(now.toISOString(), String(waiting), hasNames ? formatCell(name) : undefined, `${formatValues(holders)}${age}`);
}

const maxValues = 3;

/** Returns the values of the first holders, and the number of the others. */
export function formatValues(holders: readonly Contender[]): string {
  if (holders.length === 0) return '-';
  const more = holders.length > maxValues ? [`${String(holders.length - maxValues)} more`] : [];
  return [...holders.slice(0, maxValues).map(({ value }) => formatCell(value)), ...more].join(', ');
}

function formatKind({ mode, slots, foreign }: Contender): string {
  if (foreign) return 'foreign';
  return mode === 'exclusive' || slots === Infinity ? mode : `${String(slots)} slots`;
}

/** Returns the time until the lease ends unless it is renewed. */
const formatLeft = ({ leaseRemainingMs }: Contender): string => (leaseRemainingMs === null ? '-' : `${String(leaseRemainingMs / 1_000)}s`);

/** Returns the lease in hex, the notation of `etcdctl lease list`. */
const formatLease = ({ leaseId }: Contender): string => (leaseId === '0' ? '-' : BigInt(leaseId).toString(16));
