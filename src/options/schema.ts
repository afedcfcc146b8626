/** The rules for options, names and values, as schemas of zod. The build contains the parts of zod that this file uses. */
import * as z from 'zod/mini';
import { longestTimerMs } from '../clock.ts';
import type { Logger } from '../context.ts';
import { InvalidOptionsError, type OptionIssue } from '../errors.ts';
import type { Mode } from '../kind.ts';
import type { Store } from '../store/store.ts';
import { findCredentialIssues } from './credentials.ts';
import { isHost, isSecure, toHostList } from './host-url.ts';
import { describeHost, describeInput, expected, toIssues } from './issues.ts';
import { findAuthIssues } from './secrets.ts';
import type { LockerOptions } from './types.ts';

type Fields = ReturnType<typeof buildFields>;
type Schemas = ReturnType<typeof buildSchemas>;

const maxValueBytes = 64 * 1024;
export const maxNameBytes = 1024;

let schemas: Schemas | undefined;

/**
 * Checks `input` with one of the schemas, and returns it.
 *
 * @param root the path of `input` in an issue
 * @throws {InvalidOptionsError} `input` violates the schema
 */
export function parse<T>(action: string, choose: (schemas: Schemas) => z.ZodMiniType<T>, input: unknown, root = ''): T {
  const result = choose(loadSchemas()).safeParse(input);
  if (result.success) return result.data;
  throw new InvalidOptionsError(
    action,
    result.error.issues.flatMap((issue) => toIssues(issue, root)),
  );
}

/** Builds the schemas at the first check, because a program may import this package and never lock. */
export const loadSchemas = (): Schemas => (schemas ??= buildSchemas());

function buildSchemas() {
  const fields = buildFields();
  const { text, value, durationMs, signal } = fields;
  const name = text.check(
    z.minLength(1, { error: 'expected a name, got an empty string' }),
    z.refine((input) => Buffer.byteLength(input) <= maxNameBytes, { error: `expected at most ${String(maxNameBytes)} bytes of UTF-8` }),
  );
  const watch = { signal: z.optional(signal), failFast: z.optional(z.boolean(expected('true or false'))) };
  return {
    locker: buildLockerSchema(fields),
    lock: buildLockSchema(fields),
    lead: buildLeadSchema(fields),
    list: z.strictObject({ startsWith: z.optional(text) }, expected('an object of options')),
    breaking: z.strictObject({ fencingToken: z.optional(z.bigint(expected('a bigint'))) }, expected('an object of options')),
    watch: z.strictObject(watch, expected('an object of options')),
    watchAll: z.strictObject(
      { ...watch, startsWith: z.optional(text) },
      {
        error: ({ input }) =>
          `expected a name or an object of options, got ${describeInput(input)}; watch() without an argument takes all names`,
      },
    ),
    close: z.strictObject(
      { drainMs: z.optional(durationMs.check(z.minimum(0, expected('at least 0 ms')))) },
      // `process.on('SIGTERM', locker.close)` passes the name of the signal.
      { error: ({ input }) => `expected an object of options, got ${describeInput(input)}; as a callback, pass () => locker.close()` },
    ),
    name,
    names: z.array(name, expected('an iterable of names')).check(z.minLength(1, { error: 'expected at least one name' })),
    value,
  };
}

function buildFields() {
  const text = z
    .string(expected('a string'))
    .check(z.refine((input) => input.isWellFormed(), expected('a string without lone surrogates')));
  const value = text.check(limitBytes(maxValueBytes));
  const durationMs = z
    .number(expected('a number of milliseconds'))
    .check(z.maximum(longestTimerMs, expected(`at most ${String(longestTimerMs)} ms`)));
  const ttlMs = durationMs.check(z.minimum(2_000, expected('at least 2000 ms')));
  const signal = z.custom<AbortSignal>(
    (input) => hasMethods(input, ['addEventListener', 'removeEventListener']) && 'aborted' in (input as object),
    expected('an AbortSignal'),
  );
  return { text, value, durationMs, ttlMs, signal };
}

function buildLockerSchema({ text, value, durationMs, ttlMs }: Fields) {
  const fields = {
    hosts: z.optional(buildHostsSchema()),
    credentials: z.optional(z.custom<LockerOptions['credentials']>().check(z.superRefine(reportSecret(findCredentialIssues)))),
    auth: z.optional(z.custom<LockerOptions['auth']>().check(z.superRefine(reportSecret(findAuthIssues)))),
    grpcOptions: z.optional(z.record(z.string(), z.unknown(), expected('an object of channel options'))),
    store: z.optional(
      z.custom<Store>(
        (input) => hasMethods(input, ['grant', 'renew', 'leaseKeys', 'revoke', 'commit', 'watch', 'close']),
        expected('a store such as memoryStore()'),
      ),
    ),
    prefix: z.optional(text.check(limitBytes(maxNameBytes))),
    value: z.optional(value),
    ttlMs: z.optional(ttlMs),
    requestTimeoutMs: z.optional(durationMs.check(z.minimum(50, expected('at least 50 ms')))),
    logger: z.optional(
      z.custom<Logger>(
        (input) => hasMethods(input, ['debug', 'info', 'warn', 'error']),
        expected('an object with debug, info, warn and error'),
      ),
    ),
    keepMs: z.optional(durationMs.check(z.minimum(0, expected('at least 0 ms')))),
  };
  return z.strictObject(fields, expected('an object of options')).check(
    z.superRefine((options, context) => {
      for (const { path, message } of findConflicts(options)) context.addIssue({ code: 'custom', path: path.split('.'), message });
    }),
  );
}

/** Reports the issues of a secret. The results of a function are checked when it is called. */
const reportSecret =
  (findIssues: (input: unknown) => readonly OptionIssue[]) =>
  (input: unknown, context: { addIssue(issue: { code: 'custom'; path: string[]; message: string }): void }): void => {
    if (typeof input === 'function') return;
    for (const { path, message } of findIssues(input)) context.addIssue({ code: 'custom', path: path === '' ? [] : [path], message });
  };

function buildHostsSchema() {
  const host = z.string(expected('a host')).check(
    z.refine(isHost, {
      error: ({ input }) =>
        `expected one host such as '10.0.0.1:2379', 'https://etcd.example:2379' or '[::1]:2379', got ${describeHost(input)}` +
        // The form that etcdctl takes.
        (String(input).includes(',') ? '; give several hosts as an array, one host in each element' : ''),
    }),
  );
  const hosts = z.array(host).check(z.minLength(1, { error: 'expected at least one host, got an empty array' }));
  return z.union([host, hosts], {
    error: ({ input }) =>
      typeof input === 'string' || Array.isArray(input) ? undefined : `expected a host or an array of hosts, got ${describeInput(input)}`,
  });
}

/** Returns the issues of options that are valid alone but not together. */
function findConflicts({ hosts, credentials, auth, grpcOptions, store }: LockerOptions): OptionIssue[] {
  const issues: OptionIssue[] = [];
  const given = Object.entries({ hosts, credentials, auth, grpcOptions }).filter(([, option]) => option !== undefined);
  for (const [path] of store === undefined ? [] : given)
    issues.push({ path, message: 'expected either store or the options of etcd, got both' });
  const secure = new Set(toHostList(hosts).map((host) => isSecure(host, credentials !== undefined)));
  if (secure.size > 1) issues.push({ path: 'hosts', message: 'expected https for all hosts or for none, got a mix' });
  else if (credentials !== undefined && secure.has(false))
    issues.push({ path: 'hosts', message: 'expected https hosts because credentials are set, got http' });
  return issues;
}

function buildLeadSchema(fields: Fields) {
  const { value, ttlMs, signal, maxHoldMs } = buildCallFields(fields);
  return z.strictObject({ value, ttlMs, signal, maxHoldMs }, expected('an object of options'));
}

const buildCallFields = ({ value, durationMs, ttlMs, signal }: Fields) => ({
  value: z.optional(value),
  ttlMs: z.optional(ttlMs),
  signal: z.optional(signal),
  maxHoldMs: z.optional(orInfinity(durationMs.check(z.gt(0, expected('more than 0 ms'))))),
});

function buildLockSchema(fieldTypes: Fields) {
  const { durationMs } = fieldTypes;
  const fields = {
    ...buildCallFields(fieldTypes),
    timeoutMs: z.optional(orInfinity(durationMs.check(z.minimum(0, expected('at least 0 ms'))))),
    mode: z.optional(z.enum(['exclusive', 'shared'], expected("'exclusive' or 'shared'"))),
    slots: z.optional(
      z.number({ error: ({ input }) => describeSlots(input) }).check(
        z.minimum(1, expected('at least 1')),
        z.refine((input) => Number.isSafeInteger(input), expected('a whole number')),
      ),
    ),
    minHoldMs: z.optional(durationMs.check(z.minimum(0, expected('at least 0 ms')))),
    keepMs: z.optional(durationMs.check(z.minimum(0, expected('at least 0 ms')))),
    renew: z.optional(z.boolean(expected('true or false'))),
  };
  return z.strictObject(fields, expected('an object of options')).check(
    z.superRefine((options, context) => {
      for (const { path, message } of findLockConflicts(options)) context.addIssue({ code: 'custom', path: [path], message });
    }),
  );
}

export interface LockFields {
  readonly mode?: Mode | undefined;
  readonly slots?: number | undefined;
  readonly minHoldMs?: number | undefined;
  readonly keepMs?: number | undefined;
  readonly renew?: boolean | undefined;
}

/** Returns the issues of options that are valid alone but not together. */
function findLockConflicts({ mode, slots, minHoldMs = 0, keepMs = 0, renew }: LockFields): OptionIssue[] {
  const issues: OptionIssue[] = [];
  if (mode !== undefined && slots !== undefined) issues.push({ path: 'slots', message: 'expected either mode or slots, got both' });
  // The release of one of several holders must not keep the others' places, and a lock without renewal ends by itself.
  const excluded = { "mode: 'shared'": mode === 'shared', slots: slots !== undefined, 'renew: false': renew === false };
  for (const [path, isGiven] of Object.entries({ minHoldMs: minHoldMs > 0, keepMs: keepMs > 0 })) {
    const others = isGiven ? Object.entries(excluded).filter(([, isOtherGiven]) => isOtherGiven) : [];
    for (const [other] of others) issues.push({ path, message: `expected either ${path} or ${other}, got both` });
  }
  if (minHoldMs > 0 && keepMs > 0) issues.push({ path: 'keepMs', message: 'expected either keepMs or minHoldMs, got both' });
  return issues;
}

const describeSlots = (input: unknown): string =>
  `expected a whole number, got ${describeInput(input)}${input === Infinity ? "; mode: 'shared' allows any number of holders" : ''}`;

/** Also accepts Infinity, which zod takes for no number. */
const orInfinity = (durationMs: z.ZodMiniType<number>) =>
  z.union([durationMs, z.custom<number>((input) => input === Infinity, expected('a number of milliseconds'))]);

const limitBytes = (maxBytes: number) =>
  z.refine<string>((input) => Buffer.byteLength(input) <= maxBytes, expected(`at most ${String(maxBytes)} bytes of UTF-8`));

const hasMethods = (input: unknown, names: readonly string[]): boolean =>
  typeof input === 'object' && input !== null && names.every((name) => typeof Reflect.get(input, name) === 'function');
