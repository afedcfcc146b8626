/** One caller in a process. It locks, holds, sets values, releases and reads states in a loop. Its random numbers decide each step. */
import { LockLostError, LockReleasedError } from '../../src/errors.ts';
import type { Lock } from '../../src/lock/lock.ts';
import type { KeptLockOptions, LockOptions, MinimumHoldOptions, ModeOptions, SlotsOptions } from '../../src/options/options.ts';
import type { CallKind, HeldLock } from './calls.ts';
import type { LockState } from '../../src/states/state.ts';
import type { LockerProcess } from './locker-process.ts';
import type { Prng } from './prng.ts';
import { MultiCall } from './multi-call.ts';
import { CountedSignal } from './signals.ts';
import type { World } from './world.ts';

/** An error that the callback of `withLock` throws. `withLock` must reject with the same object. */
class CallbackError extends Error {
  override readonly name = 'CallbackError';
}

export class Caller {
  readonly #world: World;
  readonly #process: LockerProcess;
  readonly #id: string;
  readonly #prng: Prng;
  /** A separate stream, so that these draws do not shift the others. */
  readonly #multiPrng: Prng;
  readonly #minimumPrng: Prng;
  readonly #keepPrng: Prng;
  readonly #wantedPrng: Prng;
  #isDone = false;
  #count = 0;

  constructor(world: World, process: LockerProcess, id: string, prng: Prng) {
    this.#world = world;
    this.#process = process;
    this.#id = id;
    this.#prng = prng;
    this.#multiPrng = prng.fork('several');
    this.#minimumPrng = prng.fork('minimum');
    this.#keepPrng = prng.fork('keep');
    this.#wantedPrng = prng.fork('wanted');
  }

  get #preferred(): string {
    const { names } = this.#world.scenario;
    return names[this.#process.slot % names.length] ?? names[0];
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  start(): void {
    void this.#run();
  }

  async #run(): Promise<void> {
    const { scenario, faults } = this.#world;
    // Callers of keepers often ask for the same name again.
    let last: string | undefined;
    for (;;) {
      const { isSettled, haveEffectsEnded } = this.#world;
      // Few calls between the last fault and the strict phase, because that time finds no bugs of its own.
      const pauseMs = isSettled ? 200 : haveEffectsEnded ? 6_000 : faults.isOver ? 2_500 : scenario.pauseMs;
      const isRepeated = last !== undefined && this.#keepPrng.chance(0.5);
      await this.#sleep(this.#prng.skewed(0, isRepeated ? pauseMs / 10 : pauseMs));
      if (!this.#process.isOpen || !this.#world.acceptsCalls) break;
      const any = this.#prng.pick(scenario.names);
      const drawn = this.#keepPrng.chance(scenario.keep.affinity) ? this.#preferred : any;
      const name = isRepeated ? last : drawn;
      if (scenario.keep.ms > 0) last = name;
      if (!this.#multiPrng.chance(0.12)) await this.#callOnce(name ?? drawn);
      else if (this.#multiPrng.chance(0.25)) await this.#list();
      else await this.#lockAll(this.#multiPrng.chance(0.6) ? 'lockAll' : 'tryLockAll');
    }
    this.#isDone = true;
  }

  async #callOnce(name: string): Promise<void> {
    const draw = this.#prng.next();
    if (draw < 0.08) await this.#inspect(name);
    else if (draw < 0.2) await this.#withLock(name);
    else await this.#lock(draw < 0.4 ? 'tryLock' : 'lock', name);
  }

  async #lock(kind: CallKind, name: string): Promise<void> {
    const { judge } = this.#world;
    const [options, signal] = this.#options(kind);
    const call = judge.begin(this.#process, this.#id, kind, name, options, signal);
    let lock: Lock | null;
    try {
      lock = await (kind === 'lock' ? this.#process.locker.lock(name, options) : this.#process.locker.tryLock(name, options));
    } catch (error) {
      judge.failed(error, call);
      return;
    }
    if (lock === null) {
      judge.gotNull(call);
      return;
    }
    const held = judge.acquired(call, lock);
    await this.#hold(held);
    await this.#release(held);
  }

  async #withLock(name: string): Promise<void> {
    const { judge } = this.#world;
    const [options, signal] = this.#options('withLock');
    const call = judge.begin(this.#process, this.#id, 'withLock', name, options, signal);
    const callbackError = this.#prng.chance(0.2) ? new CallbackError() : undefined;
    let held: HeldLock | undefined;
    let failure: Error | undefined;
    try {
      const answer = await this.#process.locker.withLock(name, options, async (lock) => {
        held = judge.acquired(call, lock);
        await this.#hold(held);
        judge.releasing(held);
        if (callbackError !== undefined) throw callbackError;
        return call.id;
      });
      if (answer !== call.id) judge.violated('error', `${call.id}: withLock returned ${answer}`);
      if (held?.loss !== undefined) judge.violated('error', `${call.id}: withLock resolved, but its lock was lost`);
    } catch (error) {
      if (held === undefined) judge.failed(error, call);
      else if (error !== (callbackError ?? held.lock.signal.reason)) failure = error as Error;
    }
    if (held !== undefined) judge.released(held, failure);
  }

  async #lockAll(kind: 'lockAll' | 'tryLockAll'): Promise<void> {
    const [first, ...others] = this.#shuffled(this.#world.scenario.names);
    if (first === undefined) return;
    const names: [string, ...string[]] = [first, ...others.filter(() => this.#multiPrng.chance(0.8))];
    const [drawn, signal] = this.#options(kind);
    const options = { value: `${this.#id}:all:${String(++this.#count)}`, ...drawn };
    const { locker } = this.#process;
    const multiCall = new MultiCall(this.#world, this.#process, this.#id, kind, names, options, signal);
    try {
      const multi = await (kind === 'lockAll' ? locker.lockAll(names, options) : locker.tryLockAll(names, options));
      if (multi === null) multiCall.gotNull();
      else multiCall.acquired(multi);
    } catch (error) {
      multiCall.failed(error);
    }
    const [held] = multiCall.held;
    if (held === undefined) return;
    await this.#hold(held);
    const released = multiCall.release();
    if (this.#prng.chance(0.8)) await released;
  }

  /** The list must contain each lock that is held from the start of the call to its end. */
  async #list(): Promise<void> {
    const { judge, settledMs, scheduler, scenario, record } = this.#world;
    const startedMs = scheduler.nowMs;
    const startsWith = this.#multiPrng.pick(['', ...scenario.names]);
    const holders = scenario.names
      .filter((name) => name.startsWith(startsWith))
      .flatMap((name) => record.holders(name).map(({ key, createRevision }) => ({ name, key, createRevision })));
    const states: LockState[] = [];
    try {
      for await (const state of this.#process.locker.list({ startsWith })) states.push(state);
      const heldThroughout = holders.flatMap(({ name, key, createRevision }) => record.find(name, key, createRevision) ?? []);
      judge.listed(this.#id, states, heldThroughout);
    } catch (error) {
      if (startedMs >= settledMs && this.#process.isOpen) judge.violated('error', `${this.#id}: list rejected with ${String(error)}`);
      judge.figures.failed(error);
    }
  }

  #shuffled(names: readonly string[]): string[] {
    const rest = [...names];
    return names.map(() => rest.splice(this.#multiPrng.integer(0, rest.length - 1), 1)[0] ?? '');
  }

  async #inspect(name: string): Promise<void> {
    const { judge, settledMs, scheduler } = this.#world;
    const startedMs = scheduler.nowMs;
    try {
      judge.inspected(this.#id, name, await this.#process.locker.inspect(name));
    } catch (error) {
      if (startedMs >= settledMs) judge.violated('error', `${this.#id}: inspect rejected with ${String(error)}`);
      judge.figures.failed(error);
    }
  }

  #options(kind: CallKind): [LockOptions, CountedSignal | undefined] {
    const { faults, scenario } = this.#world;
    const prng = this.#prng;
    const timeoutMs = prng.chance(0.1) ? 0 : prng.skewed(1, 5_000);
    const abortMs = prng.skewed(0, 4_000);
    const ttlMs = prng.pick(scenario.ttlsMs);
    const isTimed = faults.occurs('timeout', prng, kind === 'tryLock' ? 0.5 : 0.2);
    const isAborted = faults.occurs('abort', prng, 0.2);
    const signal = isAborted || prng.chance(0.2) ? new CountedSignal() : undefined;
    if (isAborted) this.#process.machine.after(abortMs, () => signal?.abort());
    const hasValue = prng.chance(0.9);
    const slots = prng.pick(scenario.slots);
    const isLimited = prng.chance(0.08);
    const isRenewed = !prng.chance(0.08);
    return [
      {
        ttlMs,
        ...this.#kindOf(slots, isRenewed),
        ...(isLimited ? { maxHoldMs: prng.skewed(1, 3_000) } : {}),
        ...(hasValue ? { value: `${this.#id}:${String(++this.#count)}` } : {}),
        ...(isTimed ? { timeoutMs } : {}),
        ...(signal === undefined ? {} : { signal: signal.signal }),
      },
      signal,
    ];
  }

  #kindOf(
    slots: number,
    isRenewed: boolean,
  ): Pick<LockOptions, 'renew'> & (ModeOptions | SlotsOptions | MinimumHoldOptions | KeptLockOptions) {
    const renewal = isRenewed ? {} : { renew: false };
    if (slots !== 1) return slots === Infinity ? { mode: 'shared', ...renewal } : { slots, ...renewal };
    const { faults, scenario } = this.#world;
    const minHoldMs = this.#minimumPrng.skewed(1, faults.isOver ? 500 : 5_000);
    const hasMinimum = this.#minimumPrng.chance(scenario.minimumHoldShare);
    if (hasMinimum && isRenewed) return { minHoldMs };
    const keepMs = this.#keepPrng.pick([0, scenario.keep.ms, scenario.keep.ms, scenario.keep.ms / 3]);
    return this.#keepPrng.chance(scenario.keep.callShare) && isRenewed ? { keepMs } : renewal;
  }

  async #hold(held: HeldLock): Promise<void> {
    const { faults, judge, scenario } = this.#world;
    const prng = this.#prng;
    const isLong = prng.chance(0.15);
    const forMs = isLong ? prng.between(0, 12_000) : prng.skewed(0, scenario.holdMs);
    const partMs = prng.between(0, forMs);
    const shorter = (ms: number): number =>
      faults.isOver ? Math.min(100, ms) : Math.min(ms, this.#world.lastEffectMs - this.#world.scheduler.nowMs);
    await this.#sleep(shorter(partMs));
    if (this.#wantedPrng.chance(scenario.wantedShare)) judge.wishes.read(held);
    for (let writes = prng.chance(isLong ? 0.8 : 0.25) ? prng.integer(1, 3) : 0; writes > 0; writes -= 1) {
      const written = this.#setValue(held);
      const waitFor = prng.pick(['answered', 'later', 'at once']);
      if (waitFor === 'answered') await written;
      if (waitFor === 'later') await this.#sleep(prng.skewed(0, 500));
    }
    await this.#sleep(shorter(forMs - partMs));
  }

  async #setValue(held: HeldLock): Promise<void> {
    const { judge } = this.#world;
    const { machine } = this.#process;
    const value = `${held.call.id}=${String(held.values.length)}`;
    const at = judge.settingValue(held, value);
    const startedMs = machine.now().monotonicMs;
    try {
      await held.lock.setValue(value);
      judge.valueSet(held, at, startedMs);
    } catch (error) {
      judge.valueSet(held, at, startedMs, error as Error);
    }
  }

  async #release(held: HeldLock): Promise<void> {
    const { judge, scenario } = this.#world;
    judge.releasing(held);
    const releasesTwice = this.#prng.chance(0.1);
    const released = Promise.all([held.lock.release(), releasesTwice ? held.lock.release() : undefined]).then(
      () => {
        judge.released(held);
      },
      (error: unknown) => {
        judge.released(held, error as Error);
      },
    );
    if (held.lock.held) judge.violated('release', `${String(held)} is still held after its release`);
    if (scenario.keep.ms > 0 && this.#keepPrng.chance(0.1)) void this.#setTooLate(held);
    if (this.#prng.chance(0.8)) await released;
  }

  /** A handle of an earlier hold must not write the value of the next one. */
  async #setTooLate(held: HeldLock): Promise<void> {
    const { judge } = this.#world;
    await this.#sleep(this.#keepPrng.skewed(0, 500));
    const outcome = await held.lock.setValue(`${held.call.id}=too late`).catch((error: unknown) => error);
    const isRejected = held.loss === undefined ? outcome instanceof LockReleasedError : outcome instanceof LockLostError;
    if (!isRejected) judge.violated('stale', `setValue of ${String(held)} after its end: ${String(outcome)}`);
  }

  #sleep(ms: number): Promise<void> {
    return this.#process.machine.sleep(Math.max(0, ms));
  }
}
