/** Works through many rows under one lock, and yields between two rows if another caller waits. Needs Node 22.13. */
import { DatabaseSync } from 'node:sqlite'; // stands for your database
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, type Lock } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const locker = createLocker({ hosts });
const database = new DatabaseSync(process.env['DATABASE'] ?? ':memory:', { timeout: 5_000 });
database.exec('CREATE TABLE IF NOT EXISTS invoices (id INTEGER PRIMARY KEY, fence INTEGER)');
for (let id = 1; id <= 12; id += 1) database.prepare('INSERT OR IGNORE INTO invoices VALUES (?, NULL)').run(id);
const next = database.prepare('SELECT id FROM invoices WHERE fence IS NULL ORDER BY id LIMIT 1');
const finish = database.prepare('UPDATE invoices SET fence = ? WHERE id = ? AND fence IS NULL');

/** Returns whether rows are left: another caller waits, so this one goes behind it. */
async function workUntilWanted({ fencingToken, signal, wanted }: Lock): Promise<boolean> {
  for (let row = next.get(); row !== undefined; row = next.get()) {
    const id = Number(row['id']);
    await sleep(150, undefined, { signal }); // the work on the row; the signal stops it if the lock is lost
    // The row is the place at which the next holder goes on.
    if (finish.run(fencingToken, id).changes === 0) throw new Error(`Cannot finish invoice ${id}: a later holder has done it`);
    console.log(`did ${id}`);
    if (wanted.aborted) return true;
  }
  return false;
}

while (await locker.withLock('invoices', workUntilWanted)) console.log('yielded');

console.log('all are done');
await locker.close();
database.close();
