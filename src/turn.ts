/**
 * Lets the event loop run in code that never waits for etcd.
 *
 * A loop that takes and releases a kept lock runs in promises alone. Without this, no timer, no renewal and no event of a watch would
 * get a turn: the loop would end only when the deadline of its session is near, and others would wait for as long.
 */
import { type Clock, systemClock } from './clock.ts';

/** For how long promises may run until the event loop gets a turn. A turn takes some 30 microseconds. */
const longMs = 10;

let lastTurnAtMs = -Infinity;
/** The turn that is awaited. */
let nextTurn: Promise<void> | undefined;

/** Returns a promise of the next turn of the event loop if there was none for long. A clock of a test moves without turns. */
export function turnIfLong(clock: Clock): Promise<void> | undefined {
  // jsdom has no MessageChannel.
  if (clock !== systemClock || !('MessageChannel' in globalThis)) return undefined;
  // All loops wait for the same turn: while one of them ran on, the event loop would get none.
  if (nextTurn !== undefined) return nextTurn;
  const nowMs = performance.now();
  // A fake clock of a test runner may have been far ahead.
  if (Math.abs(nowMs - lastTurnAtMs) < longMs) return undefined;
  nextTurn = turn().finally(() => {
    nextTurn = undefined;
    lastTurnAtMs = performance.now();
  });
  return nextTurn;
}

/** Returns `value`, after the next turn of the event loop if there was none for long. */
export const afterTurnIfLong = <T>(clock: Clock, value: T): T | Promise<T> => turnIfLong(clock)?.then(() => value) ?? value;

/** A message comes in a later turn. No test runner fakes messages, as it does with `setImmediate`. */
async function turn(): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  await new Promise<unknown>((resolve) => {
    // Not `once()`, which the ports of Bun and Deno lack.
    port2.addEventListener('message', resolve);
    port2.start();
    port1.postMessage(undefined);
  });
  port1.close();
}
