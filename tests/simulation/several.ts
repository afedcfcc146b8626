/** Several names at once: `lockAll` and `tryLockAll`, which hold all or none, and lose all with the first. */
import type { MultiLock } from '../../src/lock/multi-lock.ts';
import type { LockOptions } from '../../src/options/options.ts';
import type { Call, Held } from './calls.ts';
import type { LockerProcess } from './locker-process.ts';
import type { CountedSignal } from './signals.ts';
import type { World } from './world.ts';

export class Several {
  readonly #world: World;
  readonly #calls: readonly [Call, ...Call[]];
  #multi: MultiLock | undefined;
  #held: readonly Held[] = [];

  constructor(
    world: World,
    process: LockerProcess,
    who: string,
    kind: 'lockAll' | 'tryLockAll',
    [name, ...names]: readonly [string, ...string[]],
    options: LockOptions,
    signal: CountedSignal | undefined,
  ) {
    this.#world = world;
    const begin = (one: string): Call => world.judge.begin(process, who, kind, one, options, signal);
    this.#calls = [begin(name), ...names.map(begin)];
  }

  get held(): readonly Held[] {
    return this.#held;
  }

  acquired(multi: MultiLock): void {
    const { judge } = this.#world;
    const names = this.#calls.map(({ name }) => name).join();
    if (multi.locks.map(({ name }) => name).join() !== names) judge.violated('all', `${this.#id} gets other names than ${names}`);
    this.#multi = multi;
    this.#held = this.#calls.flatMap((call, index) => {
      const lock = multi.locks[index];
      return lock === undefined ? [] : [judge.acquired(call, lock)];
    });
    judge.several.add(this);
  }

  /** Null where somebody was in the way on one of them. */
  refused(): void {
    this.#world.judge.refused(...this.#calls);
  }

  failed(error: unknown): void {
    this.#world.judge.failed(error, ...this.#calls);
  }

  /** One lost is all lost, in the same turn. */
  check(): void {
    const { machine } = this.#calls[0].process;
    if (this.#multi === undefined || !machine.isAwake) return;
    // Read first: reading the handle past a deadline aborts the signals of all its locks.
    const { aborted } = this.#multi.signal;
    const lost = this.#held.filter(({ loss }) => loss !== undefined);
    const isLost = lost.length > 0;
    if (isLost && lost.length < this.#held.length) this.#violated('one was lost, and not all');
    if (isLost !== aborted) this.#violated(isLost ? 'its signal has not fired' : 'its signal has fired');
    if (isLost && this.#multi.held) this.#violated('one was lost, and it is held');
    const { record } = this.#world;
    const isUntrue =
      isLost && this.#held.every(({ call, token, loss }) => loss?.reason === 'deleted' && record.find(call.name, token) !== undefined);
    if (isUntrue) this.#violated('all were lost as deleted, and all are there');
  }

  async release(): Promise<void> {
    this.check();
    const { judge } = this.#world;
    judge.several.delete(this);
    for (const held of this.#held) judge.releasing(held);
    const outcome = await this.#multi?.release().catch((error: unknown) => error as Error);
    for (const held of this.#held) judge.released(held, outcome ?? undefined);
  }

  get #id(): string {
    return this.#calls.map(({ id, name }) => `${id} on ${name}`).join(' + ');
  }

  #violated(what: string): void {
    this.#world.judge.violated('all', `${this.#id}: ${what}`);
  }
}
