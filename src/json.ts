/**
 * What `JSON.stringify` and `util.inspect` show of the objects that the library returns and throws.
 *
 * JSON has no bigint, and a number is not exact above 2^53. So each bigint becomes a decimal string.
 */

/** A method with this name decides what `util.inspect` and `console.log` show. */
export const inspectMethod = Symbol.for('nodejs.util.inspect.custom');

export type Inspect = (value: unknown, options: unknown) => string;

/** Returns the own members of `value`, with decimal strings in place of bigints. */
export const toJsonMembers = (value: object): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, typeof member === 'bigint' ? String(member) : (member as unknown)]),
  );

/** Gives a plain object a `toJSON` that is not enumerable, so that the object still equals one without it. */
export const withJson = <T extends object>(value: T): T => Object.defineProperty(value, 'toJSON', { value: toJSON });

function toJSON(this: object): Record<string, unknown> {
  return toJsonMembers(this);
}
