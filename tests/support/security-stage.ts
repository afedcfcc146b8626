/** What the tests of TLS and auth ask of a locker, and how they look at what it says. */
import { inspect } from 'node:util';
import { createLocker, type Locker, type LockerOptions } from 'etcd-locker';
import type { Identity } from './certificates.ts';
import { timed } from './integration-stage.ts';

export const clientOf = ({ privateKey, certificate }: Identity) => ({ privateKey, certChain: certificate });

/** Every way in which a locker goes to etcd. */
export const uses: Readonly<Record<string, (locker: Locker) => Promise<unknown>>> = {
  lock: (locker) => locker.lock('x'),
  tryLock: (locker) => locker.tryLock('x'),
  lockAll: (locker) => locker.lockAll(['x', 'y']),
  tryLockAll: (locker) => locker.tryLockAll(['x', 'y']),
  inspect: (locker) => locker.inspect('x'),
  list: async (locker) => {
    for await (const state of locker.list()) return state;
    return undefined;
  },
  watch: async (locker) => {
    for await (const state of locker.watch('x')) return state;
    return undefined;
  },
};

/** How a use of a locker with these options ends, and how many milliseconds that takes. */
export async function outcomeOf(options: LockerOptions, method = 'lock'): Promise<{ error: unknown; ms: number }> {
  await using locker = createLocker(options);
  const { error, ms } = await timed(uses[method]?.(locker) ?? Promise.resolve());
  return { error, ms };
}

/** All that can be seen of a value by printing it in any way, its causes included. */
export function everythingOf(value: unknown): string {
  const seen = [
    inspect(value, { depth: Infinity, showHidden: true, getters: true, maxStringLength: null, maxArrayLength: null }),
    JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? String(part) : part)),
    String(value),
  ];
  if (value instanceof Error) seen.push(value.message, String(value.stack), value.cause === undefined ? '' : everythingOf(value.cause));
  return seen.join('\n');
}

/** A logger that keeps whatever it is told. */
export function listener() {
  const lines: string[] = [];
  const keep = (...args: unknown[]): void => {
    lines.push(args.map(everythingOf).join(' '));
  };
  return { lines, logger: { debug: keep, info: keep, warn: keep, error: keep } };
}
