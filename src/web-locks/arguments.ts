/**
 * Arguments, as Web IDL converts those of `LockManager.request`: in its order, with each getter read once, a TypeError where one is not
 * what it must be.
 */
import { quote } from '../text.ts';
import type { HeldLock, LockGrantedCallback, LockMode } from './types.ts';

export interface ResolvedOptions {
  readonly ifAvailable: boolean;
  readonly mode: LockMode;
  readonly signal: AbortSignal | undefined;
  readonly steal: boolean;
}

export interface RequestArguments {
  readonly name: string;
  readonly options: ResolvedOptions;
  readonly callback: LockGrantedCallback<unknown, HeldLock>;
}

const withoutOptions: ResolvedOptions = { ifAvailable: false, mode: 'exclusive', signal: undefined, steal: false };

/** @throws {TypeError} one is not what it must be; also whatever a getter or a conversion of theirs throws */
export function convertArguments(given: readonly unknown[]): RequestArguments {
  if (given.length < 2) throw new TypeError(`Cannot request lock: 2 arguments required, got ${String(given.length)}`);
  const name = toDOMString(given[0]);
  if (given.length === 2) return { name, options: withoutOptions, callback: toCallback(given[1]) };
  const options = toOptions(given[1]);
  return { name, options, callback: toCallback(given[2]) };
}

// `String` would make a text of a symbol.
const toDOMString = (value: unknown): string => ''.concat(value as string);

function toCallback(value: unknown): RequestArguments['callback'] {
  if (typeof value !== 'function') throw new TypeError('Cannot request lock: the callback is not a function');
  return value as RequestArguments['callback'];
}

/** A dictionary's members are read in the order of their names. */
function toOptions(value: unknown): ResolvedOptions {
  if (value === undefined || value === null) return withoutOptions;
  if (typeof value !== 'object' && typeof value !== 'function') throw new TypeError('Cannot request lock: the options are not an object');
  const given = value as Readonly<Record<keyof ResolvedOptions, unknown>>;
  const ifAvailable = Boolean(given.ifAvailable);
  const mode = toMode(given.mode);
  const signal = toSignal(given.signal);
  const steal = Boolean(given.steal);
  return { ifAvailable, mode, signal, steal };
}

function toMode(value: unknown): LockMode {
  if (value === undefined) return 'exclusive';
  const mode = toDOMString(value);
  if (mode === 'exclusive' || mode === 'shared') return mode;
  throw new TypeError(`Cannot request lock: mode is neither 'exclusive' nor 'shared' but ${quote(mode)}`);
}

function toSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined || isAbortSignal(value)) return value;
  throw new TypeError('Cannot request lock: signal is not an AbortSignal');
}

// The getter knows its own: what merely has the prototype is none.
function isAbortSignal(value: unknown): value is AbortSignal {
  if (!(value instanceof AbortSignal)) return false;
  try {
    return typeof value.aborted === 'boolean';
  } catch {
    return false;
  }
}
