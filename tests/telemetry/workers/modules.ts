/** Keeps locks in variables of this module, collects the garbage, and reports which locks are still held. */
import { setImmediate as tick } from 'node:timers/promises';
import { createLocker } from '../../../src/index.ts';
import { ManualClock, memoryStore } from '../../../src/testing/index.ts';

const clock = new ManualClock();
const store = memoryStore({ clock });
const ignore = (): void => undefined;
const locker = createLocker({ store, logger: { debug: ignore, info: ignore, warn: ignore, error: ignore } });
const observer = createLocker({ store });

export const exported = await locker.lock('exported');
const read = await locker.lock('read');
process.on('SIGUSR2', () => void read.release());
await locker.lock('dropped');
// The registers of the module keep the result of its last await.
await tick();

async function run(): Promise<void> {
  for (let rounds = 0; rounds < 6; rounds += 1) {
    await clock.advance(1_000);
    (globalThis as { gc?: () => void }).gc?.();
    await tick();
  }
  const states = await Promise.all(
    ['exported', 'read', 'dropped'].map(async (name) => [name, (await observer.inspect(name)).held] as const),
  );
  console.log(JSON.stringify({ step: 'collected', held: Object.fromEntries(states) }));
  process.exit();
}

setTimeout(() => void run(), 1);
