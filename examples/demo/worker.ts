/**
 * A worker process of the demo: takes the lock again and again, and adds one to a number in etcd each time.
 *
 * It reads and writes the number in two requests with a pause between them. Without the lock, increments would be lost. It reports
 * each turn with its times to the demo. The times are comparable: all processes of a machine share one monotonic clock.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { createLocker } from '../../src/index.ts';

/** The only argument of a worker, as JSON. */
export interface Task {
  readonly hosts: readonly string[];
  readonly prefix: string;
  readonly name: string;
  readonly numberKey: string;
  readonly worker: number;
  readonly turns: number;
  readonly ttlMs: number;
  /** The turn in which the worker stops between reading and writing, and waits to be killed. */
  readonly stopsAt?: number;
}

/** The report of a worker: it has done a turn, or it has stopped in the middle of one. */
export interface Message {
  readonly kind: 'done' | 'stopped';
  readonly token: bigint;
  readonly waitedMs: number;
  /** The start of the hold, and a time just before its end. */
  readonly from: bigint;
  readonly to: bigint;
  /** The number that the worker wrote or, if it stopped, read. */
  readonly number: number;
}

const task = JSON.parse(process.argv[2] ?? '') as Task;
const { worker, turns, stopsAt, name, numberKey } = task;
const hosts = [...task.hosts];

const quit = (): never => process.exit(1);
process.on('disconnect', quit); // the demo has ended
process.on('SIGINT', () => undefined); // the demo decides when a worker ends

const report = (message: Message): boolean | undefined => process.send?.(message);
const uniform = (fromMs: number, toMs: number): number => fromMs + Math.random() * (toMs - fromMs);

async function takeTurn(turn: number): Promise<void> {
  const asked = process.hrtime.bigint();
  const value = `worker ${worker}: pid ${process.pid}, turn ${turn} of ${turns}`;
  await using lock = await locker.lock(name, { value, timeoutMs: 30_000 });
  const from = process.hrtime.bigint();
  const waitedMs = Number(from - asked) / 1e6;
  const about = { token: lock.fencingToken, waitedMs, from };

  const number = Number(await etcd.get(numberKey).string());
  await sleep(uniform(20, 100));
  if (turn === stopsAt) {
    report({ kind: 'stopped', ...about, to: process.hrtime.bigint(), number });
    await new Promise(() => setInterval(() => undefined, 1_000));
  }
  await etcd.put(numberKey).value(number + 1);
  report({ kind: 'done', ...about, to: process.hrtime.bigint(), number: number + 1 });
}

const etcd = new Etcd3({ hosts });
await using locker = createLocker({ hosts, prefix: task.prefix, ttlMs: task.ttlMs });
for (let turn = 1; turn <= turns; turn++) {
  await takeTurn(turn);
  await sleep(uniform(0, 60));
}
etcd.close();
process.off('disconnect', quit).disconnect();
