/** A client process. Each of its lockers does its work until SIGTERM, and writes each step to the history at once. */
import { setMaxListeners } from 'node:events';
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, isLockerError, type Lock, type Locker, type LockOptions } from '../../src/index.ts';
import { Prng } from '../simulation/prng.ts';
import { Counter } from './counter.ts';
import { now, type EventBody } from './history.ts';
import type { Choice, ClientPlan, Work } from './plan.ts';

const plan = JSON.parse(process.argv[2] ?? '{}') as ClientPlan;
const stopping = new AbortController();
const { signal: stopSignal } = stopping;
setMaxListeners(0, stopSignal); // each waiting call adds a listener
process.once('SIGTERM', () => {
  stopping.abort();
});
const stopped = aborted(stopSignal);

/** The interval at which `held` is read. */
const probeMs = 10;
const retryMs = 50;

/** The number of SIGUSR2 signals. Each caller counts the signals that it used, so an early signal is not lost. */
let goSignals = 0;
const goListeners = new Set<() => void>();
process.on('SIGUSR2', () => {
  goSignals += 1;
  for (const wake of goListeners) wake();
  goListeners.clear();
});

/** The common part of `Lock` and `MultiLock`. */
type Acquired = Pick<Lock, 'held' | 'signal' | 'release'>;

class Caller {
  readonly #client: string;
  readonly #locker: Locker;
  readonly #counter: Counter;
  readonly #random: Prng;
  #goSignalsUsed = 0;
  #isLost = false;

  constructor(client: string, locker: Locker, counter: Counter) {
    this.#client = client;
    this.#locker = locker;
    this.#counter = counter;
    this.#random = new Prng(plan.seed).fork(this.#client);
  }

  async run(work: Work): Promise<void> {
    switch (work.work) {
      case 'loop':
        while (!stopSignal.aborted) {
          const choice = this.#random.choose(work.choices);
          if (choice !== undefined) await this.#lockOnce(choice, () => this.#sleepUpTo(work.holdMs ?? 10));
          await this.#sleepUpTo(work.pauseMs ?? 10);
        }
        return;
      case 'steps':
        for (;;) {
          await this.#nextGo();
          if (stopSignal.aborted) return;
          await this.#lockOnce({ names: [work.name], counts: true }, () => this.#nextGo());
        }
      case 'keep':
        while (!stopSignal.aborted) await this.#lockOnce({ names: [work.name] }, () => stopped);
        return;
      case 'spin':
        await this.#spin(work.name);
        // Stays alive, because SIGTERM would kill a process that is ending and has no handler any longer.
        await stopped;
        return;
      case 'bursts':
        return this.#bursts(work.name, work.locks);
      case 'watch':
        while (!stopSignal.aborted) await this.#watch(work.name);
    }
  }

  /** Watches until the end. If etcd is unavailable, the watch rejects and is started again. */
  async #watch(name: string): Promise<void> {
    try {
      for await (const { revision, holders } of this.#locker.watch(name, { signal: stopSignal })) {
        const tokens = holders.map(({ fencingToken }) => String(fencingToken));
        this.#log({ step: 'state', name, revision: String(revision), holders: tokens });
      }
    } catch (error) {
      this.#log({ step: 'rejected', code: codeOf(error) });
      await sleep(retryMs);
    }
  }

  async #nextGo(): Promise<void> {
    while (goSignals === this.#goSignalsUsed && !stopSignal.aborted) {
      await Promise.race([stopped, new Promise<void>((resolve) => goListeners.add(resolve))]);
    }
    this.#goSignalsUsed += 1;
  }

  async #lockOnce(choice: Choice, during: () => Promise<unknown>): Promise<void> {
    const got = await this.#acquire(choice);
    if (got === null) return;
    const locks = locksOf(got);
    if (!this.#logHeld(got)) return;
    const probing = setInterval(() => this.#probe(got), probeMs);
    try {
      if (choice.counts === true && locks[0] !== undefined) await this.#increment(locks[0]);
      await Promise.race([during(), aborted(got.signal)]);
    } finally {
      clearInterval(probing);
    }
    if (this.#probe(got)) await this.#release(got);
  }

  /** Retries a call that rejects until it has the lock, or until the plan lets it stop. */
  async #acquire(choice: Choice): Promise<Acquired | null> {
    this.#log({ step: 'requested', names: choice.names });
    for (;;) {
      try {
        const got = await call(this.#locker, choice);
        if (got === null) this.#log({ step: 'abandoned' });
        return got;
      } catch (error) {
        if (stopSignal.aborted || codeOf(error) === 'LOCK_TIMEOUT') {
          this.#log({ step: 'abandoned' });
          return null;
        }
        this.#log({ step: 'rejected', code: codeOf(error) });
        await sleep(retryMs);
      }
    }
  }

  /** Logs the lock, and returns whether it is held. */
  #logHeld(got: Acquired): boolean {
    this.#isLost = false;
    const { held } = got;
    const at = now();
    const holds = locksOf(got).map(({ name, fencingToken, slots }) => ({ name, token: String(fencingToken), slots }));
    // A lock that is already lost was acquired, but was never certain.
    this.#log({ step: 'held', holds }, at);
    return held ? this.#probe(got) : this.#logLost(got);
  }

  #probe(got: Acquired): boolean {
    const at = now();
    if (!got.held) return this.#logLost(got);
    this.#log({ step: 'certain' }, at);
    return true;
  }

  #logLost({ signal }: Acquired): false {
    if (this.#isLost) return false;
    this.#isLost = true;
    const reason = signal.reason instanceof Error && 'reason' in signal.reason ? String(signal.reason.reason) : String(signal.reason);
    this.#log({ step: 'lost', reason, aborted: signal.aborted });
    return false;
  }

  async #increment(lock: Lock): Promise<void> {
    const before = await this.#counter.read(lock);
    if (before !== undefined) await this.#write(lock, before);
  }

  async #write(lock: Lock, before: number): Promise<void> {
    this.#log({ step: 'adding', name: lock.name, before });
    const { outcome } = await this.#counter.write(lock, before);
    this.#log({ step: 'added', name: lock.name, token: String(lock.fencingToken), before, outcome });
  }

  async #release(got: Acquired): Promise<void> {
    this.#log({ step: 'releasing' });
    try {
      await got.release();
      this.#log({ step: 'released' });
    } catch (error) {
      this.#log({ step: 'release-failed', code: codeOf(error) });
    }
  }

  async #spin(name: string): Promise<void> {
    const lock = await this.#acquire({ names: [name] });
    if (lock === null || !this.#logHeld(lock)) return;
    const [one] = locksOf(lock);
    const before = one === undefined ? undefined : await this.#counter.read(one);
    if (one === undefined || before === undefined) return;
    for (let last = now(), at = last; at - last < plan.ttlMs; [last, at] = [at, now()]);
    // This is the first statement after the process wakes.
    this.#probe(lock);
    await this.#write(one, before);
    await this.#release(lock);
  }

  async #bursts(name: string, count: number): Promise<void> {
    const burst = async (round: string, locks: number): Promise<void> => {
      const take = (index: number): Promise<void> => {
        const choice: Choice = { names: [`${name}/${round}/${String(index)}`], isTry: index % 2 === 1 };
        return new Caller(`${this.#client}.${String(index)}`, this.#locker, this.#counter).#lockOnce(choice, () => Promise.resolve());
      };
      await Promise.all(Array.from({ length: locks }, (_, index) => take(index)));
      this.#log({ step: 'burst', round });
    };
    await burst('warm', 1);
    for (let round = 1; ; round += 1) {
      await this.#nextGo();
      if (stopSignal.aborted) return;
      await burst(String(round), count);
    }
  }

  #sleepUpTo(ms: number): Promise<unknown> {
    return sleep(this.#random.between(0, ms));
  }

  #log(body: EventBody | { readonly step: 'burst'; readonly round: string }, at = now()): void {
    // Writes without a buffer, because the process may be stopped or killed at any time.
    writeSync(1, `${JSON.stringify({ ...body, at, client: this.#client })}\n`);
  }
}

function call(locker: Locker, { names, isTry = false, timeoutMs, mode, slots }: Choice): Promise<Acquired | null> {
  const options: LockOptions = { signal: stopSignal, timeoutMs, ...(slots === undefined ? { mode } : { slots }) };
  const [name = ''] = names;
  if (names.length > 1) return isTry ? locker.tryLockAll(names, options) : locker.lockAll(names, options);
  return isTry ? locker.tryLock(name, options) : locker.lock(name, options);
}

function locksOf(got: Acquired): readonly Lock[] {
  return 'locks' in got ? (got.locks as readonly Lock[]) : [got as Lock];
}

const codeOf = (error: unknown): string => (isLockerError(error) ? error.code : String(error));

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => {
      resolve();
    });
  });
}

/** A locker starts at a random host. This one starts at the first host of its list. */
function createLockerOnFirstHost(): Locker {
  const { random } = Math;
  Math.random = () => 0;
  try {
    const { hosts, prefix, ttlMs, requestTimeoutMs, auth } = plan;
    return createLocker({ hosts, prefix, ttlMs, requestTimeoutMs, auth });
  } finally {
    Math.random = random;
  }
}

// A caller that waits for a signal and a held lock do not keep a process alive.
const keepAlive = setInterval(() => undefined, 60_000);
writeSync(1, `${JSON.stringify({ step: 'ready' })}\n`);
await Promise.all(
  plan.callers.map(async (work, index) => {
    await using locker = createLockerOnFirstHost();
    using counter = new Counter(plan.members, plan.counters, plan.auth);
    await new Caller(`${plan.client}.${String(index)}`, locker, counter).run(work);
  }),
);
clearInterval(keepAlive);
