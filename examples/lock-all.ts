/** Locks several names together. The order of the names does not matter: two calls cannot deadlock. */
import { createLocker, type Locker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
// Two lockers stand for two processes.
await using one = createLocker({ hosts });
await using other = createLocker({ hosts });
const balances = new Map([
  ['account/7', 100],
  ['account/9', 50],
]);

async function transfer(locker: Locker, from: string, to: string, amount: number): Promise<void> {
  await using locks = await locker.lockAll([from, to], { timeoutMs: 10_000 });
  const [before, there] = [balances.get(from) ?? 0, balances.get(to) ?? 0];
  await new Promise((resolve) => setTimeout(resolve, 20));
  locks.throwIfLost(); // throws if one of the locks is lost
  balances.set(from, before - amount).set(to, there + amount);
}

await Promise.all([transfer(one, 'account/7', 'account/9', 30), transfer(other, 'account/9', 'account/7', 10)]);
for (const [account, balance] of balances) console.log(`${account}: ${String(balance)}`);

// tryLockAll() takes all names in one step, or none.
const held = await other.lock('account/9');
console.log(`while one is held: ${(await one.tryLockAll(['account/7', 'account/9'])) === null ? 'none' : 'both'}`);
await held.release();
await using locks = await one.tryLockAll(['account/7', 'account/9']);
console.log(`afterwards: ${locks?.locks.map(({ name }) => name).join(' and ') ?? 'none'}`);
