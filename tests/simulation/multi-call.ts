/** The judge's view of one `lockAll` or `tryLockAll` call: all locks are held or none, and the loss of one is the loss of all. */
import type { MultiLock } from '../../src/lock/multi-lock.ts';
import type { LockOptions } from '../../src/options/options.ts';
import type { Call, HeldLock } from './calls.ts';
import type { LockerProcess } from './locker-process.ts';
import type { CountedSignal } from './signals.ts';
import type { World } from './world.ts';

export class MultiCall {
  readonly #world: World;
  readonly #calls: readonly [Call, ...Call[]];
  #multi: MultiLock | undefined;
  #held: readonly HeldLock[] = [];

  constructor(
    world: World,
    process: LockerProcess,
    caller: string,
    kind: 'lockAll' | 'tryLockAll',
    [name, ...names]: readonly [string, ...string[]],
    options: LockOptions,
    signal: CountedSignal | undefined,
  ) {
    this.#world = world;
    const beginCall = (one: string): Call => world.judge.begin(process, caller, kind, one, options, signal);
    this.#calls = [beginCall(name), ...names.map(beginCall)];
  }

  get held(): readonly HeldLock[] {
    return this.#held;
  }

  acquired(multi: MultiLock): void {
    const { judge } = this.#world;
    const names = this.#calls.map(({ name }) => name).join();
    if (multi.locks.map(({ name }) => name).join() !== names) judge.violated('all', `${this.#id} has other names than ${names}`);
    this.#multi = multi;
    this.#held = this.#calls.flatMap((call, index) => {
      const lock = multi.locks[index];
      return lock === undefined ? [] : [judge.acquired(call, lock)];
    });
    judge.multiCalls.add(this);
  }

  /** The call returned null, because one of its names was taken. */
  gotNull(): void {
    this.#world.judge.gotNull(...this.#calls);
  }

  failed(error: unknown): void {
    this.#world.judge.failed(error, ...this.#calls);
  }

  /** The loss of one lock is the loss of all, in the same tick. */
  check(): void {
    const { machine } = this.#calls[0].process;
    if (this.#multi === undefined || !machine.isAwake) return;
    // First without a read: a read of the handle past a deadline loses all its locks.
    this.#checkAllLost();
    const { aborted } = this.#multi.signal;
    this.#checkAllLost();
    const isLost = this.#held.some(({ loss }) => loss !== undefined);
    if (isLost !== aborted)
      this.#violated(isLost ? 'a lock was lost, but the signal has not aborted' : 'no lock was lost, but the signal has aborted');
    if (isLost && this.#multi.held) this.#violated('one lock was lost, but `held` is true');
    const { record } = this.#world;
    const isReasonFalse =
      isLost &&
      this.#held.every(({ call, key, token, loss }) => loss?.reason === 'deleted' && record.find(call.name, key, token) !== undefined);
    if (isReasonFalse) this.#violated('all locks were lost as deleted, but all entries exist');
  }

  #checkAllLost(): void {
    const lost = this.#held.filter(({ loss }) => loss !== undefined);
    if (lost.length > 0 && lost.length < this.#held.length) this.#violated('one lock was lost, but not all');
  }

  async release(): Promise<void> {
    this.check();
    const { judge } = this.#world;
    judge.multiCalls.delete(this);
    for (const held of this.#held) judge.releasing(held);
    const outcome = await this.#multi?.release().catch((error: unknown) => error as Error);
    for (const held of this.#held) judge.released(held, outcome ?? undefined);
  }

  get #id(): string {
    return this.#calls.map(({ id, name }) => `${id} on ${name}`).join(' + ');
  }

  #violated(problem: string): void {
    this.#world.judge.violated('all', `${this.#id}: ${problem}`);
  }
}
