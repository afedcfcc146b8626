// A CommonJS program that uses the packed package.
'use strict';
const assert = require('node:assert/strict');
const { createLocker, LockLostError, LockTimeoutError } = require('etcd-locker');
const { ManualClock, memoryStore } = require('etcd-locker/testing');
const { webLocks } = require('etcd-locker/web-locks');

async function main() {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  const locker = createLocker({ store, ttlMs: 3_000, value: 'cjs' });
  const lock = await locker.lock('orders/42');
  assert.equal(lock.held, true);

  const late = assert.rejects(locker.lock('orders/42', { timeoutMs: 1_000 }), LockTimeoutError);
  await clock.advance(1_000);
  await late;

  // The lease expires while the process is frozen. The store of one entry point throws an error that the other one must recognise.
  clock.freeze(10_000);
  assert.equal(lock.held, false);
  assert.equal(lock.signal.reason instanceof LockLostError, true);
  const again = await locker.lock('orders/42');
  assert.equal(again.fencingToken > lock.fencingToken, true);
  await again.release();
  assert.equal(webLocks(locker), webLocks(locker));
  await locker.close();
  assert.equal(clock.timerCount, 0);
  console.log('ok');
}

main();
