/** Says who holds a lock that the command cannot get: at once for `--try`, and while it waits for `--verbose`. */
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LockDetails, Locker } from 'etcd-locker';
import { quote } from '../text.ts';
import { printError } from './failures.ts';
import { formatValues } from './states.ts';

/** The first state may be read before the entry of this process is there. */
const enqueueMs = 100;
const maxReads = 10;

/** The holders are for a message only. Without them it says just that the lock is busy. */
const readMs = 1_000;

export async function describeHolders(locker: Locker, name: string): Promise<string> {
  const read = locker.inspect(name).catch(() => undefined);
  const state = await Promise.race([read, sleep(readMs, undefined)]);
  if (state?.held !== true) return 'it is busy';
  const others = state.waiting === 0 ? '' : `, ${String(state.waiting)} waiting`;
  return `held by ${formatValues(state.holders)} (token ${String(state.holders[0]?.fencingToken)}${others})`;
}

/** Prints a line for each change of the holders, until `signal` aborts. Errors end it: the caller that waits reports its own. */
export async function reportWaiting(locker: Locker, name: string, value: string | undefined, signal: AbortSignal): Promise<void> {
  const ownValue = value ?? `${hostname()}:${String(process.pid)}`;
  let last = '';
  try {
    for await (const { held } of locker.watch(name, { signal })) {
      if (!held) continue;
      const state = await readWithOwnEntry(locker, name, ownValue, signal);
      const text = state === undefined ? last : describe(state, ownValue);
      if (text !== last && !signal.aborted) printError(text);
      last = text;
    }
  } catch {
    // Without a reader there is nothing to say.
  }
}

async function readWithOwnEntry(locker: Locker, name: string, value: string, signal: AbortSignal): Promise<LockDetails | undefined> {
  for (let reads = 0; reads < maxReads && !signal.aborted; reads += 1) {
    const state = await locker.inspect(name);
    if (state.waiters.some((waiter) => waiter.value === value)) return state;
    await sleep(enqueueMs);
  }
  return undefined;
}

function describe({ name, holders, waiters }: LockDetails, value: string): string {
  const places = waiters.flatMap((waiter, index) => (waiter.value === value ? [index + 1] : []));
  // Several commands may have the same --value.
  const place = places.length === 1 ? `place ${String(places[0])} of ${String(waiters.length)}` : `${String(waiters.length)} waiting`;
  return `Waiting for lock ${quote(name)}: ${place}, held by ${formatValues(holders)}`;
}
