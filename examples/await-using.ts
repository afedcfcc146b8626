/** Waits for a lock, works while it holds the lock, and releases it at the end of the block. */
import { createLocker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
await using locker = createLocker({ hosts });

let tokenBefore = 0n;
let inside = 0;

async function takeTurn(turn: number): Promise<void> {
  await using lock = await locker.lock('orders/42');
  inside += 1;
  console.log(
    `turn ${turn}: held ${String(lock.held)}, alone ${String(inside === 1)}, token rose ${String(lock.fencingToken > tokenBefore)}`,
  );
  tokenBefore = lock.fencingToken;
  // Real work passes lock.signal to the functions it calls, and lock.fencingToken to the store it writes to.
  await new Promise((resolve) => setTimeout(resolve, 20));
  inside -= 1;
} // the lock is released here, also if the block throws

await Promise.all([takeTurn(1), takeTurn(2), takeTurn(3)]);

const { held } = await locker.inspect('orders/42');
console.log(`held afterwards: ${String(held)}`);
