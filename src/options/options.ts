/**
 * Checks the arguments of all public calls, and fills in the defaults.
 *
 * Read this file first, then types.ts (the options), schema.ts (the rules), issues.ts (the messages of a violated rule), credentials.ts
 * and host-url.ts (rules for certificates and hosts).
 */
import { type Logger, silentLogger } from '../context.ts';
import { InvalidOptionsError } from '../errors.ts';
import { exclusive, shared } from '../kind.ts';
import { onOneLine } from '../text.ts';
import { toHostList, toUrl } from './host-url.ts';
import { describeInput } from './issues.ts';
import { type LockFields, maxNameBytes, parse } from './schema.ts';
import type { BreakOptions, CloseOptions, ResolvedLockOptions, ResolvedOptions, WatchAllOptions, WatchOptions } from './types.ts';

export type * from './types.ts';

// The import of node:os takes a millisecond of each start.
const hostname = (): string => process.getBuiltinModule('node:os').hostname();

/** @throws {InvalidOptionsError} an option is invalid */
export function resolveLockerOptions(input: unknown): ResolvedOptions {
  const options = parse('create locker', ({ locker }) => locker, input === undefined ? {} : input);
  const { credentials, auth, grpcOptions = {}, requestTimeoutMs = 5_000 } = options;
  const urls = toHostList(options.hosts).map((host) => toUrl(host, credentials !== undefined));
  return Object.freeze({
    etcd: { hosts: [...new Set(urls)], credentials: copyOf(credentials), auth: copyOf(auth), grpcOptions },
    store: options.store,
    prefix: options.prefix ?? 'locks/',
    value: options.value ?? `${hostname()}:${String(process.pid)}`,
    ttlSeconds: toTtlSeconds(options.ttlMs ?? 15_000),
    requestTimeoutMs,
    logger: options.logger === undefined ? silentLogger : guardLogger(options.logger),
    keepMs: options.keepMs ?? 0,
  });
}

/** @throws {InvalidOptionsError} an option is invalid */
export function resolveLockOptions(input: unknown, defaults: ResolvedOptions): ResolvedLockOptions {
  const options = input === undefined ? {} : parse('lock', ({ lock }) => lock, input);
  return {
    value: options.value ?? defaults.value,
    ttlSeconds: options.ttlMs === undefined ? defaults.ttlSeconds : toTtlSeconds(options.ttlMs),
    slots: options.slots ?? (options.mode === 'shared' ? shared : exclusive),
    timeoutMs: options.timeoutMs,
    signal: options.signal,
    maxHoldMs: options.maxHoldMs === Infinity ? undefined : options.maxHoldMs,
    minHoldMs: options.minHoldMs === 0 ? undefined : options.minHoldMs,
    keepMs: toKeepMs(options, defaults),
    lease: options.renew === false ? {} : undefined,
  };
}

/** @throws {InvalidOptionsError} an option is invalid */
export function resolveLeadOptions(input: unknown, defaults: ResolvedOptions): ResolvedLockOptions {
  const options = resolveLockOptions(input === undefined ? undefined : parse('lead', ({ lead }) => lead, input), defaults);
  // The end of a leadership must show to the other candidates.
  return { ...options, keepMs: undefined, isCandidate: true };
}

/** @throws {InvalidOptionsError} an option is invalid */
export function resolveCloseOptions(input: unknown): CloseOptions {
  return input === undefined ? {} : parse('close locker', ({ close }) => close, input);
}

/** @throws {InvalidOptionsError} an option is invalid */
export function resolveListOptions(input: unknown): { readonly startsWith: string } {
  const { startsWith = '' } = input === undefined ? {} : parse('list locks', ({ list }) => list, input);
  return { startsWith };
}

/** @throws {InvalidOptionsError} an option is invalid */
export function resolveWatchOptions(input: unknown): WatchOptions {
  return input === undefined ? {} : parse('watch', ({ watch }) => watch, input);
}

/** @throws {InvalidOptionsError} an option is invalid */
export function resolveBreakOptions(input: unknown): BreakOptions {
  return input === undefined ? {} : parse('break lock', ({ breaking }) => breaking, input);
}

/**
 * Takes the arguments of the call. A name that is undefined by mistake must not watch all names.
 *
 * @throws {InvalidOptionsError} an option is invalid
 */
export function resolveWatchAllOptions(...args: readonly unknown[]): WatchAllOptions {
  return args.length === 0 ? {} : parse('watch', ({ watchAll }) => watchAll, args[0]);
}

/** @throws {InvalidOptionsError} the name is not a well-formed string of 1 to 1024 bytes */
export function checkName(name: unknown): asserts name is string {
  // The schema is slower, and every lock() checks a name. A UTF-16 unit takes at most 3 bytes.
  if (typeof name === 'string' && name.length > 0 && name.length <= maxNameBytes / 3 && name.isWellFormed()) return;
  parse('lock', (schemas) => schemas.name, name, 'name');
}

/**
 * Checks the function of `withLock` and `lead` before the call asks for the lock.
 *
 * @throws {InvalidOptionsError} it is not a function
 */
export function checkFunction(action: string, fn: unknown): void {
  if (typeof fn === 'function') return;
  throw new InvalidOptionsError(action, [{ path: 'fn', message: `expected a function as the last argument, got ${describeInput(fn)}` }]);
}

/** @throws {InvalidOptionsError} the value is not a well-formed string of at most 64 KiB */
export function checkValue(input: unknown): asserts input is string {
  parse('set value', (schemas) => schemas.value, input, 'value');
}

/**
 * Returns the distinct names, in the order of their first mention.
 *
 * @throws {InvalidOptionsError} a name is invalid, or there are more than `maxCount` distinct names
 */
export function checkNames(names: unknown, action: string, maxCount = Infinity): readonly string[] {
  const isIterable = typeof names === 'object' && names !== null && Symbol.iterator in names;
  const list = parse(action, (schemas) => schemas.names, isIterable ? [...(names as Iterable<unknown>)] : names, 'names');
  const distinct = [...new Set(list)];
  if (distinct.length <= maxCount) return distinct;
  const message = `expected at most ${String(maxCount)} distinct names, the limit of one etcd transaction, got ${String(distinct.length)}`;
  throw new InvalidOptionsError(action, [{ path: 'names', message }]);
}

/** A caller may change its object later. A function stays as it is. */
const copyOf = <T extends object | undefined>(given: T): T => (typeof given === 'object' ? { ...given } : given);

/** The `keepMs` of the locker applies only to calls that may give one of their own. Undefined if it is 0. */
function toKeepMs({ keepMs, minHoldMs = 0, mode, slots, renew }: LockFields, defaults: ResolvedOptions): number | undefined {
  const mayKeep = mode !== 'shared' && slots === undefined && renew !== false && minHoldMs === 0;
  const chosen = keepMs ?? (mayKeep ? defaults.keepMs : 0);
  return chosen > 0 ? chosen : undefined;
}

/** etcd counts the time to live of a lease in whole seconds. */
const toTtlSeconds = (ttlMs: number): number => Math.ceil(ttlMs / 1000);

/** Keeps each line on one line, and ignores errors of the logger: they must not interrupt the code that logs. */
function guardLogger(logger: Logger): Logger {
  const guardLevel =
    (level: keyof Logger) =>
    (...args: unknown[]): void => {
      try {
        logger[level](...args.map((arg) => (typeof arg === 'string' ? onOneLine(arg) : arg)));
      } catch {
        // The logger is the only place to report it.
      }
    };
  return { debug: guardLevel('debug'), info: guardLevel('info'), warn: guardLevel('warn'), error: guardLevel('error') };
}
