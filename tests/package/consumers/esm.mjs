// An ES module that uses the packed package.
import assert from 'node:assert/strict';
import diagnostics from 'node:diagnostics_channel';
import { createRequire } from 'node:module';
import { createLocker, InvalidOptionsError, isLockerError, LeaseNotFoundError, LockTimeoutError } from 'etcd-locker';
import { ManualClock, memoryStore } from 'etcd-locker/testing';
import { webLocks } from 'etcd-locker/web-locks';

const store = memoryStore();
const locker = createLocker({ store, value: 'esm' });
const lock = await locker.lock('orders/42');
assert.equal(lock.held, true);
assert.equal(typeof lock.fencingToken, 'bigint');
assert.equal((await locker.inspect('orders/42')).holders[0].value, 'esm');
assert.equal(await createLocker({ store }).tryLock('orders/42'), null);
await assert.rejects(
  locker.lock('orders/42', { timeoutMs: 10 }),
  (error) => error instanceof LockTimeoutError && error.code === 'LOCK_TIMEOUT' && error.holder === 'esm',
);
await lock[Symbol.asyncDispose]();
assert.equal((await locker.inspect('orders/42')).held, false);
assert.equal(await webLocks(locker).request('settings', ({ mode }) => mode), 'exclusive');
await locker.close();

assert.throws(() => createLocker({ ttlMs: 1 }), InvalidOptionsError);

const clock = new ManualClock();
const manual = memoryStore({ clock });
const renewing = createLocker({ store: manual });
const renewed = await renewing.lock('a');
await clock.advance(60_000);
assert.equal(renewed.held, true);
manual.drop('a');
await clock.advance(1_000);
assert.equal(renewed.held, false);
await renewing.close();
const put = { key: 'a', value: '', leaseId: '7' };
await assert.rejects(manual.commit({ compare: [], then: [{ put }], otherwise: [] }), LeaseNotFoundError);

// The CommonJS copy in the same process has its own classes, but isLockerError recognises its errors.
const commonjs = createRequire(import.meta.url)('etcd-locker');
assert.notEqual(commonjs.LockTimeoutError, LockTimeoutError);
assert.equal(isLockerError(await createOther().catch((error) => error)), true);

// Both copies return one manager for a locker of either.
const { webLocks: commonjsWebLocks } = createRequire(import.meta.url)('etcd-locker/web-locks');
for (const each of [createLocker({ store: memoryStore() }), commonjs.createLocker({ store: memoryStore() })]) {
  assert.equal(commonjsWebLocks(each), webLocks(each));
  await each.close();
}

// Both copies publish on the same channels.
const messages = [];
diagnostics.subscribe('tracing:etcd-locker:acquire:asyncEnd', ({ names, result }) => messages.push(`${result} ${names}`));
diagnostics.subscribe('etcd-locker:released', ({ name }) => messages.push(`released ${name}`));
await createLocker({ store }).withLock('esm', () => undefined);
await commonjs.createLocker({ store }).withLock('cjs', () => undefined);
assert.deepEqual(messages, ['acquired esm', 'released esm', 'acquired cjs', 'released cjs']);

// Generators have this method from Node 24 on.
for (const states of [createLocker({ store }).watch('a'), createLocker({ store }).list()]) await states[Symbol.asyncDispose]();

// JSON has no bigint.
assert.equal(JSON.parse(JSON.stringify(lock)).fencingToken, String(lock.fencingToken));

async function createOther() {
  return commonjs.createLocker({ nonsense: true });
}
console.log('ok');
