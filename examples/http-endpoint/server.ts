/**
 * Starts the endpoint: `ETCD_ENDPOINTS=127.0.0.1:2379 PAYMENT_URL=http://127.0.0.1:3001 node server.ts`
 *
 * Needs Node 24, and `"type": "module"` in package.json.
 */
import { createLocker } from 'etcd-locker';
import { createApp } from './app.ts';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
const paymentUrl = process.env['PAYMENT_URL'] ?? 'http://127.0.0.1:3001';
const port = Number(process.env['PORT'] ?? 3000);

// A short request timeout: a client waits for the answer.
const locker = createLocker({ hosts, requestTimeoutMs: 2_000, logger: console });
const app = createApp({ locker, paymentUrl });

process.once('SIGTERM', () => {
  // Waiting requests answer 503, and requests that hold a lock get up to ten seconds to end.
  void Promise.all([app.close(), locker.close({ drainMs: 10_000 })]);
});

console.log(`listening at ${await app.listen({ port })}`);
