/**
 * A frozen process cannot overwrite the data of its successor: the table rejects a smaller fencing token. Needs Node 22.13.
 *
 * Start it twice. Freeze the holder for longer than the TTL with `kill -STOP PID`, then wake it with `kill -CONT PID`.
 */
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const locker = createLocker({ hosts, ttlMs: 3_000 });
const database = new DatabaseSync(process.env['DATABASE'] ?? 'reports.db', { timeout: 5_000 });
database.exec('CREATE TABLE IF NOT EXISTS reports (id TEXT PRIMARY KEY, text TEXT, fence INTEGER)');
const write = database.prepare(`
  INSERT INTO reports (id, text, fence) VALUES ('daily', ?, ?)
  ON CONFLICT (id) DO UPDATE SET text = excluded.text, fence = excluded.fence
  WHERE excluded.fence >= reports.fence`);

const lock = await locker.lock('report');
for (let page = 1; page <= 10; page++) {
  await sleep(200); // The work. This program does not look at lock.signal, so only the table protects the data.
  const { changes } = write.run(`page ${page} by ${process.pid}`, lock.fencingToken);
  console.log(changes === 1 ? `wrote page ${page}` : `rejected page ${page}: a later holder has written`);
  if (changes === 0) break;
}
await locker.close();
database.close();
