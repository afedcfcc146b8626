/**
 * A frozen process cannot overwrite the data of its successor: the table rejects a smaller fencing token.
 *
 * Start it twice. Freeze the holder for longer than the TTL with `kill -STOP PID`, then wake it with `kill -CONT PID`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker } from 'etcd-locker';
import { Client } from 'pg'; // npm i pg

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const locker = createLocker({ hosts, ttlMs: 3_000 });
const database = new Client(); // reads PGHOST, PGUSER, PGPASSWORD and PGDATABASE
await database.connect();
const write = `
  INSERT INTO reports (id, text, fence) VALUES ('daily', $1, $2)
  ON CONFLICT (id) DO UPDATE SET text = excluded.text, fence = excluded.fence
  WHERE excluded.fence >= reports.fence`;

const lock = await locker.lock('report');
// Under the lock, because PostgreSQL may reject two such commands at the same time.
await database.query('CREATE TABLE IF NOT EXISTS reports (id text PRIMARY KEY, text text, fence bigint)');
for (let page = 1; page <= 10; page++) {
  await sleep(200); // The work. This program does not look at lock.signal, so only the table protects the data.
  const { rowCount } = await database.query(write, [`page ${page} by ${process.pid}`, lock.fencingToken]);
  console.log(rowCount === 1 ? `wrote page ${page}` : `rejected page ${page}: a later holder has written`);
  if (rowCount === 0) break;
}
await locker.close();
await database.end();
