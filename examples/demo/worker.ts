/**
 * One of the demo's processes: takes the lock turn after turn and adds one to a number in etcd.
 *
 * Reading the number and writing it back are two requests with a pause between them, so without the lock increments would
 * get lost. What it did, and when, it tells the process that started it. All processes of a machine share one monotonic clock.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { createLocker } from '../../src/index.ts';

/** What a worker is told by its only argument, as JSON. */
export interface Task {
  readonly hosts: readonly string[];
  readonly prefix: string;
  readonly name: string;
  readonly numberKey: string;
  readonly worker: number;
  readonly turns: number;
  readonly ttlMs: number;
  /** The turn in which it stops between reading and writing, and waits for its end. */
  readonly stopsAt?: number;
}

/** What a worker tells: that it did a turn, or that it stopped in the middle of one. */
export interface Told {
  readonly kind: 'done' | 'stopped';
  readonly token: bigint;
  readonly waitedMs: number;
  /** When it began to hold, and when it was about to stop holding. */
  readonly from: bigint;
  readonly to: bigint;
  /** The number that it wrote or, where it stopped, that it read. */
  readonly number: number;
}

const task = JSON.parse(process.argv[2] ?? '') as Task;
const { worker, turns, stopsAt, name, numberKey } = task;
const hosts = [...task.hosts];

const quit = (): never => process.exit(1);
process.on('disconnect', quit); // nobody is there any more to tell
process.on('SIGINT', () => undefined); // the process that started it decides

const tell = (told: Told): boolean | undefined => process.send?.(told);
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
    tell({ kind: 'stopped', ...about, to: process.hrtime.bigint(), number });
    await new Promise(() => setInterval(() => undefined, 1_000));
  }
  await etcd.put(numberKey).value(number + 1);
  tell({ kind: 'done', ...about, to: process.hrtime.bigint(), number: number + 1 });
}

const etcd = new Etcd3({ hosts });
await using locker = createLocker({ hosts, prefix: task.prefix, ttlMs: task.ttlMs });
for (let turn = 1; turn <= turns; turn++) {
  await takeTurn(turn);
  await sleep(uniform(0, 60));
}
etcd.close();
process.off('disconnect', quit).disconnect();
