/**
 * Converts the arguments of `LockManager.request` as Web IDL does.
 *
 * It converts them in the order of Web IDL, reads each getter once, and throws a TypeError for an invalid argument.
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

const defaults: ResolvedOptions = { ifAvailable: false, mode: 'exclusive', signal: undefined, steal: false };

/**
 * @throws {TypeError} an argument is invalid
 * @throws the error of a getter or of a conversion of an argument
 */
export function convertArguments(input: readonly unknown[]): RequestArguments {
  if (input.length < 2) throw new TypeError(`Cannot request lock: expected at least 2 arguments, got ${String(input.length)}`);
  const name = toDOMString(input[0]);
  if (input.length === 2) return { name, options: defaults, callback: toCallback(input[1]) };
  const options = toOptions(input[1]);
  return { name, options, callback: toCallback(input[2]) };
}

// Unlike `String`, this throws for a symbol.
const toDOMString = (value: unknown): string => ''.concat(value as string);

function toCallback(value: unknown): RequestArguments['callback'] {
  if (typeof value !== 'function') throw new TypeError('Cannot request lock: expected a function as the callback');
  return value as RequestArguments['callback'];
}

/** Reads the members in the order of their names, as for any dictionary of Web IDL. */
function toOptions(value: unknown): ResolvedOptions {
  if (value === undefined || value === null) return defaults;
  if (typeof value !== 'object' && typeof value !== 'function')
    throw new TypeError('Cannot request lock: expected an object as the options');
  const members = value as Readonly<Record<keyof ResolvedOptions, unknown>>;
  const ifAvailable = Boolean(members.ifAvailable);
  const mode = toMode(members.mode);
  const signal = toSignal(members.signal);
  const steal = Boolean(members.steal);
  return { ifAvailable, mode, signal, steal };
}

function toMode(value: unknown): LockMode {
  if (value === undefined) return 'exclusive';
  const mode = toDOMString(value);
  if (mode === 'exclusive' || mode === 'shared') return mode;
  throw new TypeError(`Cannot request lock: mode: expected 'exclusive' or 'shared', got ${quote(mode)}`);
}

function toSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined || isAbortSignal(value)) return value;
  throw new TypeError('Cannot request lock: signal: expected an AbortSignal');
}

// The getter throws for an object that only has the prototype of a signal.
function isAbortSignal(value: unknown): value is AbortSignal {
  if (!(value instanceof AbortSignal)) return false;
  try {
    return typeof value.aborted === 'boolean';
  } catch {
    return false;
  }
}
