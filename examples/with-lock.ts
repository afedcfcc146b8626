/** Runs a function while it holds a lock. withLock() passes on the result or the error of the function. */
import { createLocker, isLockerError } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
await using locker = createLocker({ hosts });

const total = await locker.withLock('orders/42', async (lock) => {
  await new Promise((resolve) => setTimeout(resolve, 20));
  lock.throwIfLost(); // before each step that must not be done twice
  return 42;
});
console.log(`total: ${total}`);

try {
  await locker.withLock('orders/42', () => {
    throw new Error('out of stock');
  });
} catch (error) {
  console.log(`failed: ${error instanceof Error ? error.message : String(error)}`);
}

// The lock was released both times, so it is free.
await using lock = await locker.lock('orders/42', { timeoutMs: 1_000 });
console.log(`free again: ${String(lock.held)}`);

await locker
  .withLock('orders/42', { timeoutMs: 100 }, () => 'never run')
  .catch((error: unknown) => {
    console.log(`while it is held: ${isLockerError(error) ? error.code : String(error)}`);
  });
