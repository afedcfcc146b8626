/**
 * Reports a violated rule: the path of the option, the expected value, and the given one.
 *
 * A message never contains a secret. Passwords, keys and certificates are not repeated at all, and hosts only without the parts that may
 * hold a password or a token.
 */
import type { core } from 'zod/mini';
import type { OptionIssue } from '../errors.ts';
import { quote } from '../text.ts';

/** The error option of a zod check: names the expected and the given value. */
export const expected = (description: string) => ({
  error: (issue: { readonly input?: unknown }) => `expected ${description}, got ${describeInput(issue.input)}`,
});

export function describeInput(input: unknown): string {
  if (input === undefined || input === null || typeof input === 'number' || typeof input === 'boolean') return String(input);
  if (typeof input === 'string') return quote(shorten(removeSecrets(input)));
  return Array.isArray(input) ? 'an array' : `a value of type ${typeof input}`;
}

/** Describes an invalid host by its scheme and name alone: a path may be a token, and an invalid port the password of 'user:password'. */
export function describeHost(input: unknown): string {
  if (typeof input !== 'string') return describeInput(input);
  const [, scheme = '', rest = ''] = /^([a-z][a-z0-9+.-]*:\/\/)?(.*)$/is.exec(removeSecrets(input)) ?? [];
  return quote(shorten(scheme + rest.replace(/\/.+/s, '/…').replace(/^([^:[]*):(?!\d*\/?…?$).*/s, '$1:…')));
}

/** Removes the user, the password and the query of a URL. */
const removeSecrets = (text: string): string => text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, '$1…@').replace(/[?#].*/s, '?…');

const shorten = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

/** Converts an issue of zod. `root` is the path of the checked value. */
export function toIssues(issue: core.$ZodIssue, root: string): OptionIssue[] {
  const pathTo = (rest: readonly PropertyKey[]): string =>
    [...issue.path, ...rest].reduce<string>(
      (path, part) => (typeof part === 'number' ? `${path}[${String(part)}]` : path === '' ? String(part) : `${path}.${String(part)}`),
      root,
    );
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => ({ path: pathTo([key]), message: 'unknown option' }));
  if (issue.code === 'invalid_union') {
    // The branch of the input's own type gets deepest. The other branch reports only that the type differs.
    const deepest = issue.errors.reduce((best, branch) => (measureDepth(branch) > measureDepth(best) ? branch : best));
    if (measureDepth(deepest) > 0) return deepest.flatMap((inner) => toIssues({ ...inner, path: [...issue.path, ...inner.path] }, root));
  }
  return [{ path: pathTo([]), message: issue.message }];
}

const measureDepth = (issues: readonly core.$ZodIssue[]): number =>
  Math.max(0, ...issues.map(({ path, code }) => path.length + (code === 'invalid_type' ? 0 : 1)));
