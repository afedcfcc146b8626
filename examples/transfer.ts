/** Transfers money between accounts under the locks of both. The database rejects a transfer whose locks were lost. Needs Node 22.13. */
import { DatabaseSync } from 'node:sqlite'; // stands for your database
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const locker = createLocker({ hosts });
const database = new DatabaseSync(process.env['DATABASE'] ?? ':memory:', { timeout: 5_000 });
database.exec('CREATE TABLE IF NOT EXISTS accounts (id TEXT PRIMARY KEY, balance INTEGER, fence INTEGER)');
database.exec("INSERT OR IGNORE INTO accounts VALUES ('alice', 100, 0), ('bob', 100, 0), ('carol', 100, 0)");
const read = database.prepare('SELECT balance FROM accounts WHERE id = ?');
const write = database.prepare('UPDATE accounts SET balance = ?1, fence = ?2 WHERE id = ?3 AND fence <= ?2');

async function transfer(from: string, to: string, amount: number): Promise<void> {
  const locks = await locker.lockAll([from, to], { timeoutMs: 10_000 }); // in any order: two transfers never deadlock
  try {
    const balances = new Map([from, to].map((id) => [id, Number(read.get(id)?.['balance'])]));
    await sleep(5, undefined, { signal: locks.signal }); // for example a call of another service
    balances.set(from, (balances.get(from) ?? 0) - amount).set(to, (balances.get(to) ?? 0) + amount);
    database.exec('BEGIN IMMEDIATE');
    const written = locks.locks.map(({ name, fencingToken }) => write.run(balances.get(name) ?? 0, fencingToken, name).changes);
    const isFenced = written.some((changes) => changes === 0); // a later holder has written this account
    database.exec(isFenced ? 'ROLLBACK' : 'COMMIT');
    if (isFenced) throw new Error(`Cannot transfer from ${from} to ${to}: a later holder has written`);
  } finally {
    await locks.release();
  }
}

const people = ['alice', 'bob', 'carol'] as const;
const pairs = Array.from({ length: 30 }, (_, turn) => [people[turn % 3] ?? 'alice', people[(turn + 1 + (turn % 2)) % 3] ?? 'bob'] as const);
await Promise.all(pairs.map(([from, to], turn) => transfer(from, to, (turn % 7) + 1)));

const { total } = database.prepare('SELECT sum(balance) AS total FROM accounts').get() ?? {};
console.log(`${pairs.length} transfers done, the total is ${Number(total)}`);
await locker.close();
database.close();
