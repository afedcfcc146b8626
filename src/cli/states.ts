/** The state of a lock, as a table for people and as JSON for programs. */
import type { Contender, LockDetails, LockState } from 'etcd-locker';
import { escapeControls } from '../text.ts';
import { cell, table } from './table.ts';

/**
 * One line. Revisions, tokens and leases are decimal strings, as JSON's numbers are not exact up there; `slots` is null where any number
 * may hold together.
 */
export function toJson(state: LockState | LockDetails): string {
  const text = JSON.stringify(state, (_, value: unknown) => {
    if (typeof value === 'bigint') return String(value);
    return value === Infinity ? null : value;
  });
  // What JSON leaves as it is and a terminal may not.
  return `${escapeControls(text)}\n`;
}

export function detailsTable({ name, held, holders, waiters, revision }: LockDetails): string {
  const title = `${cell(name)} is ${held ? 'held' : 'free'}, as of revision ${String(revision)}\n`;
  if (!held) return title;
  const row = (place: string, contender: Contender): string[] => [
    place,
    kindOf(contender),
    String(contender.fencingToken),
    leaseOf(contender),
    cell(contender.value),
    escapeControls(contender.key),
  ];
  return `${title}\n${table([
    ['PLACE', 'KIND', 'TOKEN', 'LEASE', 'VALUE', 'KEY'],
    ...holders.map((one) => row('holds', one)),
    ...waiters.map((one, index) => row(`waits ${String(index + 1)}`, one)),
  ])}`;
}

export function listTable(states: readonly LockState[]): string {
  return table([
    ['NAME', 'KIND', 'HOLDERS', 'WAITING', 'TOKEN', 'VALUE'],
    ...states.map(({ name, holders, waiting }) => [
      cell(name),
      holders[0] === undefined ? '-' : kindOf(holders[0]),
      String(holders.length),
      String(waiting),
      String(holders[0]?.fencingToken ?? '-'),
      valuesOf(holders),
    ]),
  ]);
}

const timeColumn = 26;
const countColumn = 9;

export const changeHeader = `${'TIME'.padEnd(timeColumn)}${'WAITING'.padEnd(countColumn)}HOLDERS\n`;

/** One line under `changeHeader`: what follows is not known yet, so the widths are fixed. */
export function changeLine({ holders, waiting }: LockState, now: Date): string {
  return `${now.toISOString().padEnd(timeColumn)}${String(waiting).padEnd(countColumn)}${valuesOf(holders)}\n`;
}

const shown = 3;

function valuesOf(holders: readonly Contender[]): string {
  if (holders.length === 0) return '-';
  const more = holders.length > shown ? [`${String(holders.length - shown)} more`] : [];
  return [...holders.slice(0, shown).map(({ value }) => cell(value)), ...more].join(', ');
}

function kindOf({ mode, slots, foreign }: Contender): string {
  if (foreign) return 'foreign';
  return mode === 'exclusive' || slots === Infinity ? mode : `${String(slots)} slots`;
}

/** In hex, as `etcdctl lease list` has it. */
const leaseOf = ({ leaseId }: Contender): string => (leaseId === '0' ? '-' : BigInt(leaseId).toString(16));
