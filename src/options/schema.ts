/** What the options may be, and how a wrong one is told: by its path and by what was expected there. */
import { createRequire } from 'node:module';
import type * as z from 'zod';
import { longestTimerMs } from '../clock.ts';
import { credentialIssues } from './credentials.ts';
import { InvalidOptionsError, type OptionIssue } from '../errors.ts';
import { hostList, isHost, isSecure } from './host-url.ts';
import { quote } from '../text.ts';
import type { Store } from '../store/store.ts';

type Zod = typeof z;

const maxValueBytes = 64 * 1024;
export const maxNameBytes = 1024;

// A password or token that somebody put into a host's URL must not come back in an error.
const withoutSecrets = (text: string): string => text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, '$1…@').replace(/[?#].*/s, '?…');

const shortened = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

const describe = (input: unknown): string => {
  if (input === undefined || input === null || typeof input === 'number' || typeof input === 'boolean') return String(input);
  if (typeof input === 'string') return quote(shortened(withoutSecrets(input)));
  return Array.isArray(input) ? 'an array' : `a value of type ${typeof input}`;
};

// Of what is no host the least that tells which one it is: a path may be a token, and what is no port the password of 'user:password'.
const describeHost = (input: unknown): string => {
  if (typeof input !== 'string') return describe(input);
  const [, scheme = '', rest = ''] = /^([a-z][a-z0-9+.-]*:\/\/)?(.*)$/is.exec(withoutSecrets(input)) ?? [];
  return quote(shortened(scheme + rest.replace(/\/.+/s, '/…').replace(/^([^:[]*):(?!\d*\/?…?$).*/s, '$1:…')));
};

const expected = (what: string) => ({
  error: (issue: { readonly input?: unknown }) => `expected ${what}, got ${describe(issue.input)}`,
});
// For what may be a secret: the rule alone, never what was given.
const expectedSecretly = (what: string) => ({ error: () => `expected ${what}` });

const isObjectWith = (methods: readonly string[]) => (input: unknown) =>
  typeof input === 'object' && input !== null && methods.every((name) => typeof Reflect.get(input, name) === 'function');

let built: ReturnType<typeof build> | undefined;

/** Loading zod takes longer than loading all else, so not before there is something to check. */
export function schemas(): ReturnType<typeof build> {
  return (built ??= build(createRequire(import.meta.url)('zod') as Zod));
}

function build(z: Zod) {
  const text = (what: string) =>
    z.string(expected(what)).refine((input) => input.isWellFormed(), expected(`${what} without lone surrogates`));
  const value = text('a string').refine(
    (input) => Buffer.byteLength(input) <= maxValueBytes,
    expected(`at most ${String(maxValueBytes)} bytes of UTF-8`),
  );
  const ttlMs = z
    .number(expected('a number of milliseconds'))
    .min(2_000, expected('at least 2000 ms'))
    .max(longestTimerMs, expected(`at most ${String(longestTimerMs)} ms`));
  const signal = z.custom<AbortSignal>(
    (input) => isObjectWith(['addEventListener', 'removeEventListener'])(input) && 'aborted' in (input as object),
    expected('an AbortSignal'),
  );
  const certificate = z.custom<Buffer>((input) => Buffer.isBuffer(input), expectedSecretly('a Buffer'));

  const host = z.string(expected('a host')).refine(isHost, {
    error: ({ input }) =>
      `expected one host such as '10.0.0.1:2379', 'https://etcd.example:2379' or '[::1]:2379', got ${describeHost(input)}`,
  });

  const locker = z
    .strictObject(
      {
        hosts: z.optional(
          z.union([host, z.array(host).min(1, { error: 'expected at least one host, got an empty array' })], {
            error: (issue) =>
              typeof issue.input === 'string' || Array.isArray(issue.input)
                ? undefined
                : `expected a host or an array of hosts, got ${describe(issue.input)}`,
          }),
        ),
        credentials: z.optional(
          z.strictObject(
            { rootCertificate: certificate, privateKey: z.optional(certificate), certChain: z.optional(certificate) },
            expectedSecretly('an object with rootCertificate'),
          ),
        ),
        auth: z.optional(
          z.strictObject(
            {
              username: z.string(expectedSecretly('a string')).min(1, { error: 'expected a user name, got an empty string' }),
              password: z.string(expectedSecretly('a string')),
            },
            expectedSecretly('an object with username and password'),
          ),
        ),
        grpcOptions: z.optional(z.record(z.string(), z.unknown(), expected('an object of channel options'))),
        store: z.optional(
          z.custom<Store>(
            isObjectWith(['grant', 'renew', 'leaseKeys', 'revoke', 'commit', 'watch', 'close']),
            expected('a store such as memoryStore()'),
          ),
        ),
        prefix: z.optional(
          text('a string').refine(
            (input) => Buffer.byteLength(input) <= maxNameBytes,
            expected(`at most ${String(maxNameBytes)} bytes of UTF-8`),
          ),
        ),
        value: z.optional(value),
        ttlMs: z.optional(ttlMs),
        requestTimeoutMs: z.optional(
          z
            .number(expected('a number of milliseconds'))
            .min(50, expected('at least 50 ms'))
            .max(longestTimerMs, expected(`at most ${String(longestTimerMs)} ms`)),
        ),
        logger: z.optional(
          z.custom<Pick<Console, 'debug' | 'info' | 'warn' | 'error'>>(
            isObjectWith(['debug', 'info', 'warn', 'error']),
            expected('an object with debug, info, warn and error'),
          ),
        ),
      },
      expected('an object of options'),
    )
    .superRefine((options, context) => {
      const refuse = (path: string[], message: string): void => {
        context.addIssue({ code: 'custom', path, message });
      };
      if (options.store !== undefined) {
        for (const name of ['hosts', 'credentials', 'auth', 'grpcOptions'] as const) {
          if (options[name] !== undefined) refuse([name], 'expected nothing beside store, which takes the place of etcd');
        }
      }
      for (const { path, message } of options.credentials === undefined ? [] : credentialIssues(options.credentials))
        refuse(['credentials', path], message);
      const { privateKey, certChain } = options.credentials ?? {};
      if ((privateKey === undefined) !== (certChain === undefined)) {
        refuse(
          ['credentials', privateKey === undefined ? 'privateKey' : 'certChain'],
          'expected privateKey and certChain together, got one of them',
        );
      }
      const secure = new Set(hostList(options.hosts).map((url) => isSecure(url, options.credentials !== undefined)));
      if (secure.size > 1) refuse(['hosts'], 'expected all hosts with https or all without, got a mix');
      else if (secure.has(false) && options.credentials !== undefined)
        refuse(['hosts'], 'expected https hosts, as credentials are given, got http');
    });

  const lock = z
    .strictObject(
      {
        value: z.optional(value),
        ttlMs: z.optional(ttlMs),
        timeoutMs: z.optional(
          z
            .number(expected('a number of milliseconds'))
            .min(0, expected('at least 0 ms'))
            .max(longestTimerMs, expected(`at most ${String(longestTimerMs)} ms`)),
        ),
        signal: z.optional(signal),
        mode: z.optional(z.enum(['exclusive', 'shared'], expected("'exclusive' or 'shared'"))),
        slots: z.optional(
          z
            .number(expected('a whole number'))
            .min(1, expected('at least 1'))
            .refine((input) => Number.isSafeInteger(input), expected('a whole number')),
        ),
        maxHoldMs: z.optional(
          z
            .number(expected('a number of milliseconds'))
            .gt(0, expected('more than 0 ms'))
            .max(longestTimerMs, expected(`at most ${String(longestTimerMs)} ms`)),
        ),
        renew: z.optional(z.boolean(expected('true or false'))),
      },
      expected('an object of options'),
    )
    .superRefine(({ mode, slots }, context) => {
      if (mode === undefined || slots === undefined) return;
      context.addIssue({ code: 'custom', path: ['slots'], message: 'expected nothing beside mode, which says how many may hold together' });
    });

  const list = z.strictObject({ startsWith: z.optional(text('a string')) }, expected('an object of options'));

  const watch = z.strictObject({ signal: z.optional(signal) }, expected('an object of options'));

  const name = text('a string')
    .min(1, { error: 'expected a name, got an empty string' })
    .refine((input) => Buffer.byteLength(input) <= maxNameBytes, { error: `expected at most ${String(maxNameBytes)} bytes of UTF-8` });

  const names = z.array(name, expected('an iterable of names')).min(1, { error: 'expected at least one name' });

  return { locker, lock, list, watch, name, names, value };
}

/** @throws {InvalidOptionsError} `input` is not what `schema` asks for */
export function parse<T>(what: string, choose: (schemas: ReturnType<typeof build>) => z.ZodType<T>, input: unknown, root = ''): T {
  const result = choose(schemas()).safeParse(input);
  if (result.success) return result.data;
  throw new InvalidOptionsError(
    what,
    result.error.issues.flatMap((issue) => toIssues(issue, root)),
  );
}

function toIssues(issue: z.core.$ZodIssue, root: string): OptionIssue[] {
  const at = (extra: readonly PropertyKey[]): string =>
    [...issue.path, ...extra].reduce<string>(
      (path, part) => (typeof part === 'number' ? `${path}[${String(part)}]` : path === '' ? String(part) : `${path}.${String(part)}`),
      root,
    );
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => ({ path: at([key]), message: 'unknown option' }));
  if (issue.code === 'invalid_union') {
    // The branch of the same type as the input is the one that was meant; the other only says that it is not.
    const meant = issue.errors.reduce((best, branch) => (depthOf(branch) > depthOf(best) ? branch : best));
    if (depthOf(meant) > 0) return meant.flatMap((inner) => toIssues({ ...inner, path: [...issue.path, ...inner.path] }, root));
  }
  return [{ path: at([]), message: issue.message }];
}

const depthOf = (issues: readonly z.core.$ZodIssue[]): number =>
  Math.max(0, ...issues.map(({ path, code }) => path.length + (code === 'invalid_type' ? 0 : 1)));
