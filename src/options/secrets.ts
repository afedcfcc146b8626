/**
 * The rules for options that contain secrets, and for functions that return them.
 *
 * A message names the option and what is expected. It never contains what was given, except the names of unknown members.
 */
import type { OptionIssue } from '../errors.ts';
import type { Auth } from './types.ts';

/** Returns what a member violates, or undefined. */
type Rule = (given: unknown) => string | undefined;

/** Returns the issues of the option `auth`, with paths below it. */
export const findAuthIssues = (input: unknown): readonly OptionIssue[] =>
  findMemberIssues<Auth>(input, {
    username: (given) => {
      if (typeof given !== 'string') return 'expected a string';
      return given === '' ? 'expected a user name, got an empty string' : undefined;
    },
    password: (given) => (typeof given === 'string' ? undefined : 'expected a string'),
  });

/** Checks the members of an object of secrets. */
export function findMemberIssues<T>(input: unknown, rules: Readonly<Partial<Record<keyof T & string, Rule>>>): OptionIssue[] {
  const names = Object.keys(rules);
  if (typeof input !== 'object' || input === null || Array.isArray(input) || Buffer.isBuffer(input))
    return [{ path: '', message: `expected an object with ${names.join(', ')}, or a function that returns one` }];
  const unknown = Object.keys(input).filter((name) => !names.includes(name));
  const violations = Object.entries<Rule | undefined>(rules).flatMap(([path, rule]) => {
    const message = rule?.(Reflect.get(input, path));
    return message === undefined ? [] : [{ path, message }];
  });
  return [...violations, ...unknown.map((path) => ({ path, message: 'unknown option' }))];
}
