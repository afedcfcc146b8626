/** An HTTP service that holds a lock in each request. SIGTERM ends it: waiters get 503, and holders finish their work. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, isLockerError } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const locker = createLocker({ hosts });

async function handle({ url = '/' }: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  try {
    const text = await locker.withLock(`orders${pathname}`, async ({ signal, fencingToken }) => {
      console.log(`begins ${pathname}`);
      await sleep(Number(searchParams.get('ms') ?? 100), undefined, { signal }); // the work
      return `done with token ${fencingToken}`;
    });
    response.end(text);
  } catch (error) {
    // LOCKER_CLOSED: it still waited. LOCK_LOST: it took longer than drainMs. Another process can serve the request.
    const status = isLockerError(error) ? 503 : 500;
    response.writeHead(status, { 'retry-after': '1' }).end(isLockerError(error) ? error.code : 'failed');
  }
}

const server = createServer((request, response) => void handle(request, response));
server.listen(Number(process.env['PORT'] ?? 8080), '127.0.0.1', () => {
  console.log('listening');
});

process.once('SIGTERM', () => {
  server.close(); // takes no new connections, and ends once all requests are answered
  void locker.close({ drainMs: Number(process.env['DRAIN_MS'] ?? 10_000) }).then(() => {
    console.log('closed');
  });
});
