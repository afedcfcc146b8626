/** A worker process for one rival: `node worker.ts locker|etcd3|raw|raw-turns`. It reads orders from its standard input. */
import { createInterface } from 'node:readline';
import type { Answers, Order } from './protocol.ts';
import { openEtcd3Lock } from './rivals/etcd3-lock.ts';
import { openLocker } from './rivals/etcd-locker.ts';
import { openRaw, openRawTurns } from './rivals/raw.ts';
import { WorkerJobs } from './worker-jobs.ts';

const opens = { locker: openLocker, etcd3: openEtcd3Lock, raw: openRaw, 'raw-turns': openRawTurns };
export type NodeRival = keyof typeof opens;

const jobs = new WorkerJobs(opens[process.argv[2] as NodeRival]);

function carryOut(order: Order): Promise<Answers[Order['do']]> {
  switch (order.do) {
    case 'open':
      return jobs.open(order);
    case 'loop':
      return jobs.loop(order);
    case 'hold':
      return jobs.hold(order.client, order.name);
    case 'release':
      return jobs.release();
    case 'watch':
      return jobs.watch(order.name);
    case 'put':
      return jobs.put(order.name, order.times, order.pauseMs);
    case 'memory':
      return jobs.memory(order.name, order.count, order.atOnce);
    case 'stop':
      return jobs.stop();
    case 'close':
      return jobs.close();
  }
}

const lines = createInterface(process.stdin);
lines.on('line', (line) => {
  const { id, ...order } = JSON.parse(line) as Order & { readonly id: number };
  const answer = (answer: object): void => {
    process.stdout.write(`${JSON.stringify({ id, ...answer })}\n`);
  };
  // In parallel, because an order to stop arrives while a loop runs.
  carryOut(order).then(answer, (error: unknown) => {
    answer({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  });
});
// Also ends when the bench has died.
lines.once('close', () => process.exit());
