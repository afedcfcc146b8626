/**
 * `npm run demo`: four processes take turns on a lock in a real etcd, and one of them is killed while it holds the lock.
 *
 * Each worker adds one to a number in etcd, 25 times. Only the lock protects the number. At the end, the number must equal the
 * increments that the workers report, and no two workers may have held the lock at the same time.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { createLocker, type Locker, type LockState } from '../../src/index.ts';
import { startEtcd } from '../../tests/support/etcd/etcd.ts';
import type { RecordedHold } from './picture.ts';
import { report, type Hold } from './report.ts';
import { showProgress, type Progress } from './view.ts';
import type { Message, Task } from './worker.ts';

const workers = 4;
const turns = 25;
const victim = 3;
const stopsAt = 13;
const ttlMs = 3_000;
const prefix = `demo-${process.pid}/`;
const numberKey = `demo-${process.pid}-number`;
const name = 'counter';

/** The state of the demo. The view shows it, and the report checks it. */
const progress: Progress = {
  startedAt: performance.now(),
  number: 0,
  lock: undefined,
  workers: Array.from({ length: workers }, (_, index) => ({ worker: index + 1, turns: 0, of: turns, state: 'runs' })),
};
const holds: Hold[] = [];
const children = new Set<ChildProcess>();

async function runDemo(): Promise<number> {
  await using etcd = await startEtcd();
  const interruption = waitForInterruption();
  console.log(`Using ${etcd.source}`);
  const client = new Etcd3({ hosts: [...etcd.endpoints] });
  await client.put(numberKey).value(0);
  await using locker = createLocker({ hosts: etcd.endpoints, prefix });
  try {
    progress.startedAt = performance.now();
    const task = { hosts: etcd.endpoints, prefix, name, numberKey, turns, ttlMs };
    const work = (): Promise<unknown> =>
      Promise.all(progress.workers.map(({ worker }) => runWorker(locker, { ...task, worker, ...(worker === victim && { stopsAt }) })));
    if ((await showWhile(locker, () => Promise.race([interruption, work()]))) === 'interrupted') return 130;
    const found = Number(await client.get(numberKey).string());
    process.send?.(toRecording(holds)); // to record.ts, which draws the run
    return report({ progress, holds, found, victim });
  } finally {
    await Promise.all([...children].map((child) => end(child)));
    await client.delete().key(numberKey);
    client.close();
  }
}

function toRecording(all: readonly Hold[]): RecordedHold[] {
  const inOrder = [...all].sort((a, b) => (a.from < b.from ? -1 : 1));
  const start = inOrder[0]?.from ?? 0n;
  const toMs = (time: bigint): number => Number(time - start) / 1e6;
  return inOrder.map(({ worker, kind, from, to }) => ({ worker, fromMs: toMs(from), toMs: toMs(to), isKilled: kind === 'stopped' }));
}

/** Resolves at the first signal. Until then no signal ends the process, so that the demo can clean up. */
function waitForInterruption(): Promise<'interrupted'> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        resolve('interrupted');
      });
    }
  });
}

async function end(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** Shows the states of the lock while `work` runs. */
async function showWhile(locker: Locker, work: () => Promise<unknown>): Promise<unknown> {
  const stopShowing = showProgress(progress);
  const ended = new AbortController();
  const watching = (async () => {
    for await (const state of locker.watch(name, { signal: ended.signal })) update(state);
  })();
  try {
    return await Promise.race([work(), watching]);
  } finally {
    ended.abort();
    await watching;
    stopShowing();
  }
}

function update(state: LockState): void {
  progress.lock = state;
  const { killed } = progress;
  const [holder] = state.holders;
  if (killed === undefined || holder === undefined || holder.fencingToken === killed.token) return;
  killed.freeAfterMs ??= performance.now() - killed.atMs;
}

async function runWorker(locker: Locker, task: Task): Promise<void> {
  const { worker } = task;
  const child = fork(new URL('worker.ts', import.meta.url), [JSON.stringify(task)], { serialization: 'advanced' });
  children.add(child);
  const seen = progress.workers[worker - 1] ?? { worker, of: turns, turns: 0, state: 'runs' };
  child.on('message', (data) => {
    const message = data as Message;
    if (message.kind === 'stopped') {
      void kill(locker, child, { worker, ...message });
      return;
    }
    holds.push({ worker, ...message });
    seen.turns += 1;
    progress.number = message.number;
  });
  const [[code]] = (await Promise.all([once(child, 'exit'), once(child, 'disconnect')])) as [[number | null], unknown];
  children.delete(child);
  seen.state = progress.killed?.worker === worker ? 'killed' : code === 0 ? 'done' : 'failed';
}

/** Kills a worker at the worst moment: it holds the lock and has read the number, but has not written it yet. */
async function kill(locker: Locker, child: ChildProcess, hold: Hold): Promise<void> {
  await sleep(300);
  // The number of waiters has risen, but a watch reports it only when the holder changes.
  progress.lock = await locker.inspect(name).catch(() => progress.lock);
  holds.push({ ...hold, to: process.hrtime.bigint() });
  progress.killed = { worker: hold.worker, token: hold.token, atMs: performance.now() };
  child.kill('SIGKILL');
}

process.exitCode = await runDemo();
