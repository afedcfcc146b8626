/** A process with lockers on etcd, each at its own work until SIGTERM; tells all it does, at once, as lines of a history. */
import { setMaxListeners } from 'node:events';
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, isLockerError, type Lock, type Locker, type LockOptions } from '../../src/index.ts';
import { Prng } from '../simulation/prng.ts';
import { Counter } from './counter.ts';
import { now, type Deed } from './history.ts';
import type { Choice, ClientPlan, Work } from './plan.ts';

const plan = JSON.parse(process.argv[2] ?? '{}') as ClientPlan;
const ending = new AbortController();
const { signal: over } = ending;
setMaxListeners(0, over); // each call that waits has one
process.once('SIGTERM', () => {
  ending.abort();
});
const ended = aborted(over);

/** How often `held` is read while a lock is held. */
const probeMs = 10;
const retryMs = 50;

/** SIGUSR2, counted for each caller: one that comes early is not lost. */
let goes = 0;
const waiting = new Set<() => void>();
process.on('SIGUSR2', () => {
  goes += 1;
  for (const wake of waiting) wake();
  waiting.clear();
});

/** What lock() and lockAll() give. */
type Got = Pick<Lock, 'held' | 'signal' | 'release'>;

class Caller {
  readonly #client: string;
  readonly #locker: Locker;
  readonly #counter: Counter;
  readonly #random: Prng;
  #goesTaken = 0;
  #isLost = false;

  constructor(client: string, locker: Locker, counter: Counter) {
    this.#client = client;
    this.#locker = locker;
    this.#counter = counter;
    this.#random = new Prng(plan.seed).fork(this.#client);
  }

  async do(work: Work): Promise<void> {
    switch (work.work) {
      case 'turns':
        while (!over.aborted) {
          const choice = this.#random.choose(work.choices);
          if (choice !== undefined) await this.#turn(choice, () => this.#upTo(work.holdMs ?? 10));
          await this.#upTo(work.pauseMs ?? 10);
        }
        return;
      case 'steps':
        for (;;) {
          await this.#go();
          if (over.aborted) return;
          await this.#turn({ names: [work.name], counts: true }, () => this.#go());
        }
      case 'keep':
        while (!over.aborted) await this.#turn({ names: [work.name] }, () => ended);
        return;
      case 'spin':
        await this.#spin(work.name);
        // A process that ends by itself may be met by SIGTERM when it has no handler any more, and would die of it.
        await ended;
        return;
      case 'bursts':
        return this.#bursts(work.name, work.locks);
      case 'watch':
        while (!over.aborted) await this.#watch(work.name);
    }
  }

  /** Until the end; where etcd is away at its beginning it is refused, as any call is. */
  async #watch(name: string): Promise<void> {
    try {
      for await (const { revision, holders } of this.#locker.watch(name, { signal: over })) {
        const tokens = holders.map(({ fencingToken }) => String(fencingToken));
        this.#tell({ step: 'state', name, revision: String(revision), holders: tokens });
      }
    } catch (error) {
      this.#tell({ step: 'refused', code: codeOf(error) });
      await sleep(retryMs);
    }
  }

  async #go(): Promise<void> {
    while (goes === this.#goesTaken && !over.aborted) {
      await Promise.race([ended, new Promise<void>((resolve) => waiting.add(resolve))]);
    }
    this.#goesTaken += 1;
  }

  async #turn(choice: Choice, during: () => Promise<unknown>): Promise<void> {
    const got = await this.#ask(choice);
    if (got === null) return;
    const locks = locksOf(got);
    if (!this.#hold(got)) return;
    const probing = setInterval(() => this.#probe(got), probeMs);
    try {
      if (choice.counts === true && locks[0] !== undefined) await this.#add(locks[0]);
      await Promise.race([during(), aborted(got.signal)]);
    } finally {
      clearInterval(probing);
    }
    if (this.#probe(got)) await this.#release(got);
  }

  /** Until it has it, or the plan says that it need not: a call that fails goes again. */
  async #ask(choice: Choice): Promise<Got | null> {
    this.#tell({ step: 'asked', names: choice.names });
    for (;;) {
      try {
        const got = await call(this.#locker, choice);
        if (got === null) this.#tell({ step: 'gave-up' });
        return got;
      } catch (error) {
        if (over.aborted || codeOf(error) === 'LOCK_TIMEOUT') {
          this.#tell({ step: 'gave-up' });
          return null;
        }
        this.#tell({ step: 'refused', code: codeOf(error) });
        await sleep(retryMs);
      }
    }
  }

  /** Tells that it is held, where it is. */
  #hold(got: Got): boolean {
    this.#isLost = false;
    const { held } = got;
    const at = now();
    const holds = locksOf(got).map(({ name, fencingToken, slots }) => ({ name, token: String(fencingToken), slots }));
    // One that was lost before it could be used was never certain, and still it was taken.
    this.#tell({ step: 'held', holds }, at);
    return held ? this.#probe(got) : this.#lost(got);
  }

  #probe(got: Got): boolean {
    const at = now();
    if (!got.held) return this.#lost(got);
    this.#tell({ step: 'certain' }, at);
    return true;
  }

  #lost({ signal }: Got): false {
    if (this.#isLost) return false;
    this.#isLost = true;
    const reason = signal.reason instanceof Error && 'reason' in signal.reason ? String(signal.reason.reason) : String(signal.reason);
    this.#tell({ step: 'lost', reason, aborted: signal.aborted });
    return false;
  }

  async #add(lock: Lock): Promise<void> {
    const before = await this.#counter.read(lock);
    if (before !== undefined) await this.#write(lock, before);
  }

  async #write(lock: Lock, before: number): Promise<void> {
    this.#tell({ step: 'adding', name: lock.name, before });
    const { outcome } = await this.#counter.write(lock, before);
    this.#tell({ step: 'added', name: lock.name, token: String(lock.fencingToken), before, outcome });
  }

  async #release(got: Got): Promise<void> {
    this.#tell({ step: 'releasing' });
    try {
      await got.release();
      this.#tell({ step: 'released' });
    } catch (error) {
      this.#tell({ step: 'unreleased', code: codeOf(error) });
    }
  }

  async #spin(name: string): Promise<void> {
    const lock = await this.#ask({ names: [name] });
    if (lock === null || !this.#hold(lock)) return;
    const [one] = locksOf(lock);
    const before = one === undefined ? undefined : await this.#counter.read(one);
    if (one === undefined || before === undefined) return;
    for (let last = now(), at = last; at - last < plan.ttlMs; [last, at] = [at, now()]);
    // The first statement after waking.
    this.#probe(lock);
    await this.#write(one, before);
    await this.#release(lock);
  }

  async #bursts(name: string, count: number): Promise<void> {
    const burst = async (round: string, locks: number): Promise<void> => {
      const take = (index: number): Promise<void> => {
        const choice: Choice = { names: [`${name}/${round}/${String(index)}`], isTry: index % 2 === 1 };
        return new Caller(`${this.#client}.${String(index)}`, this.#locker, this.#counter).#turn(choice, () => Promise.resolve());
      };
      await Promise.all(Array.from({ length: locks }, (_, index) => take(index)));
      this.#tell({ step: 'burst', round });
    };
    await burst('warm', 1);
    for (let round = 1; ; round += 1) {
      await this.#go();
      if (over.aborted) return;
      await burst(String(round), count);
    }
  }

  #upTo(ms: number): Promise<unknown> {
    return sleep(this.#random.between(0, ms));
  }

  #tell(deed: Deed | { readonly step: 'burst'; readonly round: string }, at = now()): void {
    // Past all buffers of this process, which may be stopped or killed at any time.
    writeSync(1, `${JSON.stringify({ ...deed, at, client: this.#client })}\n`);
  }
}

function call(locker: Locker, { names, isTry = false, timeoutMs, mode, slots }: Choice): Promise<Got | null> {
  const options: LockOptions = { signal: over, timeoutMs, mode, slots };
  const [name = ''] = names;
  if (names.length > 1) return isTry ? locker.tryLockAll(names, options) : locker.lockAll(names, options);
  return isTry ? locker.tryLock(name, options) : locker.lock(name, options);
}

function locksOf(got: Got): readonly Lock[] {
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

/** A locker begins anywhere in its list. */
function createLockerAtFirst(): Locker {
  const { random } = Math;
  Math.random = () => 0;
  try {
    const { hosts, prefix, ttlMs, requestTimeoutMs, auth } = plan;
    return createLocker({ hosts, prefix, ttlMs, requestTimeoutMs, auth });
  } finally {
    Math.random = random;
  }
}

// Neither a caller that waits to go on nor a lock that is held keeps a process alive.
const alive = setInterval(() => undefined, 60_000);
writeSync(1, `${JSON.stringify({ step: 'ready' })}\n`);
await Promise.all(
  plan.callers.map(async (work, index) => {
    await using locker = createLockerAtFirst();
    using counter = new Counter(plan.members, plan.counters, plan.auth);
    await new Caller(`${plan.client}.${String(index)}`, locker, counter).do(work);
  }),
);
clearInterval(alive);
