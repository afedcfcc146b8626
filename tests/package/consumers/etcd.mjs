// Uses the package on a real etcd, in every runtime and every bundle. Ends by itself: nothing may keep the process alive.
import assert from 'node:assert/strict';
import process from 'node:process';
import { createLocker } from 'etcd-locker';

const [hosts, prefix] = process.env.ETCD_TARGET.split(' ');
const ttlMs = 2_000;
const locker = createLocker({ hosts, prefix, ttlMs });
const other = createLocker({ hosts, prefix, ttlMs });

async function main() {
  const lock = await locker.lock('orders/42', { value: 'one' });
  assert.equal(lock.held, true);
  assert.equal(await other.tryLock('orders/42'), null);

  const states = other.watch('orders/42');
  assert.equal((await states.next()).value.holders[0].value, 'one');

  // The deadline of the first lease passes, so the lock is held afterwards only if it was renewed.
  const waiting = other.lock('orders/42', { value: 'two' });
  await new Promise((resolve) => setTimeout(resolve, ttlMs + 500));
  assert.equal(lock.held, true);

  await lock.release();
  const next = await waiting;
  assert.equal(next.fencingToken > lock.fencingToken, true);
  for await (const { holders } of states) if (holders[0]?.value === 'two') break;
  await next.release();

  // A loop over a kept lock sends nothing, and lets timers run nevertheless.
  const keeper = createLocker({ hosts, prefix, ttlMs, keepMs: 10_000 });
  let isOver = false;
  setTimeout(() => (isOver = true), 50);
  while (!isOver) await keeper.withLock('orders/43', () => undefined);

  await Promise.all([locker.close(), other.close(), keeper.close()]);
  console.log('ok');
}

main();
