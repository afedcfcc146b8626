/** A worker process for one rival: `node worker.ts locker|kept|before|etcd3|raw|raw-turns [DIR]`. It reads orders from its standard input. */
import { createInterface } from 'node:readline';
import type { Answers, Order } from './protocol.ts';
import type { OpenClient } from './rivals/client.ts';
import { openKeepingLocker, openLocker, openLockerOf } from './rivals/etcd-locker.ts';
import { WorkerJobs } from './worker-jobs.ts';

const [, , rival, folder] = process.argv;

/** Each process loads only the code of its rival. */
const opens = {
  locker: openLocker,
  kept: openKeepingLocker,
  before: () => openLockerOf(folder),
  etcd3: async () => (await import('./rivals/etcd3-lock.ts')).openEtcd3Lock,
  raw: async () => (await import('./rivals/raw.ts')).openRaw,
  'raw-turns': async () => (await import('./rivals/raw.ts')).openRawTurns,
} satisfies Record<string, () => Promise<OpenClient>>;
export type NodeRival = keyof typeof opens;

const jobs = new WorkerJobs(await opens[rival as NodeRival]());

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
      return jobs.put(order);
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
