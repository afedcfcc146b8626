/** Readers share the lock, a writer holds it alone. All wait in one queue, first come, first served. */
import { createLocker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
// Two lockers stand for two processes.
await using readers = createLocker({ hosts, value: 'a reader' });
await using writers = createLocker({ hosts, value: 'a writer' });

const first = await readers.lock('catalogue', { mode: 'shared' });
const second = await readers.lock('catalogue', { mode: 'shared' });
console.log(`two readers at once: ${String(first.held && second.held)}`);
console.log(`a writer at the same time: ${(await writers.tryLock('catalogue')) === null ? 'busy' : 'writes'}`);

async function write(): Promise<void> {
  await using lock = await writers.lock('catalogue');
  console.log(`the writer holds it alone: ${String((await writers.inspect('catalogue')).holders.length === 1 && lock.held)}`);
}

async function readLast(): Promise<void> {
  await using lock = await readers.lock('catalogue', { mode: 'shared' });
  console.log(`the last reader holds it: ${String(lock.held)}`);
}

const writing = write();
while ((await readers.inspect('catalogue')).waiting === 0); // until the writer is in the queue
const reading = readLast(); // waits behind the writer, although others read
await first.release();
await second.release();
await Promise.all([writing, reading]);
