/** Subscribes functions that throw to all channels, and reports that locks go on as usual. */
import diagnostics from 'node:diagnostics_channel';
import { setImmediate as tick } from 'node:timers/promises';
import { createLocker } from '../../../src/index.ts';
import { ManualClock, memoryStore } from '../../../src/testing/index.ts';

const errors: string[] = [];
process.on('uncaughtException', (error) => errors.push(error.message));
for (const event of ['start', 'end', 'asyncStart', 'asyncEnd', 'error']
  .map((one) => `tracing:etcd-locker:acquire:${one}`)
  .concat('etcd-locker:held', 'etcd-locker:released', 'etcd-locker:lost')) {
  diagnostics.subscribe(event, () => {
    throw new Error(event);
  });
}
const clock = new ManualClock();
const store = memoryStore({ clock });
const locker = createLocker({ store });

const result = await locker.withLock('a', (lock) => lock.held);
const limited = await locker.lock('b', { maxHoldMs: 1_000 });
await clock.advance(2_000);
const { held } = await createLocker({ store }).inspect('b');
const timedOut = await createLocker({ store })
  .lock('c', { timeoutMs: 0 })
  .then((lock) => lock.held);
await tick();
console.log(JSON.stringify({ step: 'done', result, aborted: limited.signal.aborted, held, timedOut, errors: [...new Set(errors)].sort() }));
process.exit();
