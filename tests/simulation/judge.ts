/**
 * Hears of all that callers ask for and get, and compares it with what etcd did.
 *
 * The first thing that must not be ends the run. What is checked after every step is in invariants.ts, what an error may be in verdicts.ts.
 */
import { LockLostError } from '../../src/errors.ts';
import type { Lock } from '../../src/lock/lock.ts';
import type { LockOptions } from '../../src/options/options.ts';
import type { KeyValue } from '../../src/store/store.ts';
import type { LockDetails, LockState } from '../../src/states/state.ts';
import { type Call, type CallKind, Held, isOneOfSeveral } from './calls.ts';
import { Figures } from './figures.ts';
import { checkStep } from './invariants.ts';
import { isDifferent, stateProblem } from './states.ts';
import type { LockerProcess } from './locker-process.ts';
import type { Machine } from './machine.ts';
import type { Several } from './several.ts';
import type { CountedSignal } from './signals.ts';
import { callProblem, releaseProblem, valueProblem, watchProblem } from './verdicts.ts';
import type { World } from './world.ts';

export interface Violation {
  readonly rule: string;
  readonly message: string;
}

/** Ten times what the longest of many thousand runs took. */
const mostSteps = 400_000;

export class Judge {
  readonly figures = new Figures();
  readonly pending = new Set<Call>();
  readonly live = new Set<Held>();
  /** Those that are held together. */
  readonly several = new Set<Several>();
  /** When a name was given back or lost last. */
  readonly freedMs = new Map<string, number>();
  readonly #world: World;
  readonly #over: Held[] = [];
  /** The highest token of each kind that held a name. */
  readonly #lastTokens = new Map<string, Map<number, bigint>>();
  /** The values of the entries whose creation was confirmed to who sent it. */
  readonly #enqueued = new Set<string>();
  #acquired: Call[] = [];
  #violation: Violation | undefined;
  #calls = 0;

  constructor(world: World) {
    this.#world = world;
  }

  get violation(): Violation | undefined {
    return this.#violation;
  }

  violated(rule: string, message: string): void {
    if (this.#violation !== undefined) return;
    this.#violation = { rule, message };
    this.#world.history.tell('JUDGE', () => `${rule}: ${message}`);
  }

  begin(process: LockerProcess, who: string, kind: CallKind, name: string, options: LockOptions, signal: CountedSignal | undefined): Call {
    const { machine } = process;
    const isOurs = (call: Call): boolean => call.process === process && call.name === name;
    const call: Call = {
      id: `${who}#${String(++this.#calls)}`,
      process,
      kind,
      name,
      options,
      signal,
      value: options.value ?? process.id,
      slots: options.slots ?? (options.mode === 'shared' ? Infinity : 1),
      // Of several names it lines up for one after the other, when is not known.
      isInLine: isOneOfSeveral({ kind }) ? false : kind === 'tryLock' ? (options.timeoutMs ?? 0) > 0 : options.timeoutMs !== 0,
      startedMs: this.#world.scheduler.nowMs,
      startedAwakeMs: machine.awakeMs,
      startedMonotonicMs: machine.now().monotonicMs,
      leaps: machine.leaps,
      wasBusy:
        [...this.pending].some((one) => (one.isInLine || isOneOfSeveral(one)) && isOurs(one)) ||
        [...this.live].some((held) => isOurs(held.call)),
    };
    this.pending.add(call);
    this.#world.history.tell(process.id, () => `${call.id} ${kind}(${name}) ${JSON.stringify({ ...options, signal: signal && 'given' })}`);
    return call;
  }

  enqueued(value: string): void {
    this.#enqueued.add(value);
  }

  wasEnqueued(call: Call): boolean {
    return call.options.value !== undefined && this.#enqueued.has(call.value);
  }

  acquired(call: Call, lock: Lock): Held {
    const { scheduler, record, history } = this.#world;
    const held = new Held(call, lock, scheduler.nowMs);
    history.tell(call.process.id, () => `${call.id} HAS ${call.name}, token ${String(held.token)}`);
    this.settled(call);
    this.#acquired.push(call);
    this.figures.acquired(scheduler.nowMs - call.startedMs);
    lock.signal.addEventListener('abort', () => {
      this.#lost(held, lock.signal.reason);
    });
    if (lock.signal.aborted) {
      this.#lost(held, lock.signal.reason);
      return held;
    }
    this.live.add(held);
    const tamperedAt = record.tamperedAt(held.token);
    const last = this.#tokenBefore(call);
    // Where an outsider deleted the entry while the news of the lock was on its way, others may have held meanwhile.
    if (tamperedAt === undefined && held.token <= last) this.violated('token', `${String(held)} comes after token ${String(last)}`);
    this.#noteToken(call, held.token);
    // Of several names the first were had some time ago.
    const isNew = !isOneOfSeveral(call);
    if (isNew && tamperedAt !== undefined && tamperedAt <= call.process.store.wire.answeredAt)
      this.violated('gone', `${String(held)} was told of its lock after its entry had been deleted`);
    const { ttlMs = 0, maxHoldMs = Infinity } = call.options;
    const leastMs = Math.min(maxHoldMs * 0.97, (1_000 * Math.ceil(ttlMs / 1_000)) / 3) - 1;
    if (isNew && lock.remainingMs < leastMs)
      this.violated('short', `${String(held)} has ${lock.remainingMs.toFixed(1)} ms left when it gets its lock`);
    if (tamperedAt === undefined && record.slotsOf(call.name, held.token) !== call.slots)
      this.violated('kind', `${String(held)} asked for ${String(call.slots)} slots, its entry is of another kind`);
    if (lock.value !== call.value) this.violated('value', `${String(held)} has the value '${lock.value}', asked for was '${call.value}'`);
    return held;
  }

  /** The highest token that must be below that of the call: of one kind several may hold, and hear of it in any order. */
  #tokenBefore({ name, slots }: Call): bigint {
    const tokens = [...(this.#lastTokens.get(name) ?? [])].filter(([kind]) => kind !== slots || slots === 1).map(([, token]) => token);
    return tokens.reduce((a, b) => (a > b ? a : b), 0n);
  }

  #noteToken({ name, slots }: Call, token: bigint): void {
    const tokens = this.#lastTokens.get(name) ?? new Map<number, bigint>();
    if (token > (tokens.get(slots) ?? 0n)) this.#lastTokens.set(name, tokens.set(slots, token));
  }

  #lost(held: Held, reason: unknown): void {
    const { record, history, isSettled } = this.#world;
    const { process, name } = held.call;
    history.tell(process.id, () => `${String(held)} is LOST: ${String(reason)}`);
    if (!(reason instanceof LockLostError)) {
      this.violated('signal', `${String(held)} aborted with ${String(reason)}`);
      return;
    }
    if (held.loss !== undefined) this.violated('signal', `${String(held)} was lost twice`);
    if (held.isReleased) this.violated('signal', `${String(held)} was lost after its release`);
    held.loss = reason;
    this.figures.lost(reason.reason);
    if (reason.reason === 'closed' && process.isOpen) this.violated('signal', `${String(held)}: its locker is not closed`);
    if (reason.reason === 'deleted' && !isOneOfSeveral(held.call) && record.find(name, held.token) !== undefined)
      this.violated('signal', `${String(held)} was lost as deleted, and is there`);
    const isAsked = reason.reason === 'max-hold' ? held.call.options.maxHoldMs !== undefined : held.call.options.renew === false;
    if (reason.reason !== 'closed' && isSettled && !isAsked)
      this.violated('needless', `${String(held)} was lost while nothing goes wrong: ${reason.reason}`);
    this.#end(held);
  }

  /** The answer to a call, or to the calls for several names. */
  refused(...calls: readonly [Call, ...Call[]]): void {
    const { record, history } = this.#world;
    const [{ id, process, options, startedMonotonicMs }] = calls;
    history.tell(process.id, () => `${id} gets null`);
    for (const call of calls) this.settled(call);
    this.figures.refused();
    const { timeoutMs = 0 } = options;
    const waitedMs = process.machine.now().monotonicMs - startedMonotonicMs;
    if (timeoutMs > 0 && waitedMs < timeoutMs - 1) this.violated('error', `${id} got null after ${String(waitedMs)} ms`);
    const wasFree = ({ name, wasBusy, startedMs }: Call): boolean =>
      !wasBusy && record.entries(name).length === 0 && record.busyAtMs(name) < startedMs;
    if (timeoutMs === 0 && calls.every(wasFree)) this.violated('null', `${id} got null, but nobody was there`);
  }

  failed(...[error, ...calls]: readonly [unknown, Call, ...Call[]]): void {
    const [call] = calls;
    this.#world.history.tell(call.process.id, () => `${call.id} fails: ${String(error)}`);
    for (const one of calls) this.settled(one);
    const problem = callProblem(this.#world, call, error);
    if (problem !== undefined) this.violated('error', `${call.id}: ${problem}`);
    this.figures.failed(error);
  }

  settled(call: Call): void {
    this.pending.delete(call);
    // What it had of several names goes back now.
    if (isOneOfSeveral(call)) this.freedMs.set(call.name, this.#world.scheduler.nowMs);
    if ((call.signal?.listeners ?? 0) > 0) this.violated('listeners', `${call.id} left a listener on its signal`);
  }

  /** To be called just before the release. */
  releasing(held: Held): void {
    const { lock, call } = held;
    this.#world.history.tell(call.process.id, () => `${String(held)} is released`);
    held.deadlineMs = call.process.machine.now().monotonicMs + lock.remainingMs;
    held.isReleased = held.loss === undefined;
    this.#end(held);
  }

  released(held: Held, error?: Error): void {
    this.figures.released();
    if (error !== undefined) this.violated('error', `the release of ${String(held)} rejects: ${String(error)}`);
    const problem = releaseProblem(this.#world, held);
    if (problem !== undefined) this.violated('release', `${String(held)}: ${problem}`);
  }

  #end(held: Held): void {
    if (!this.live.delete(held)) return;
    this.#over.push(held);
    this.freedMs.set(held.call.name, this.#world.scheduler.nowMs);
  }

  settingValue(held: Held, value: string): number {
    this.#world.history.tell(held.call.process.id, () => `${String(held)} sets '${value}'`);
    return held.values.push(value) - 1;
  }

  valueSet(held: Held, at: number, startedMonotonicMs: number, error?: Error): void {
    this.#world.history.tell(held.call.process.id, () => `'${held.values[at] ?? ''}' ${error === undefined ? 'is set' : String(error)}`);
    if (error === undefined) held.confirmed = Math.max(held.confirmed, at);
    const problem = error === undefined ? undefined : valueProblem(this.#world, held, error, startedMonotonicMs);
    if (problem !== undefined) this.violated('error', `setValue of ${String(held)}: ${problem}`);
  }

  inspected(who: string, name: string, details: LockDetails): void {
    const problem = stateProblem(this.#world.record, name, details);
    if (problem !== undefined) this.violated('state', `${who} inspects ${name}: ${problem}`);
  }

  /** All that `list` told, while those entries held from the beginning to the end. */
  listed(who: string, states: readonly LockState[], holders: readonly KeyValue[]): void {
    const names = states.map(({ name }) => name);
    if (new Set(names).size < names.length) this.violated('list', `${who} is told twice of one of ${names.join()}`);
    for (const state of states) {
      const problem = stateProblem(this.#world.record, state.name, state);
      if (problem !== undefined) this.violated('list', `${who} lists ${state.name}: ${problem}`);
    }
    const told = new Set(states.flatMap((state) => state.holders.map(({ key }) => key)));
    for (const { key } of holders) if (!told.has(key)) this.violated('list', `${who} is not told of ${key}, which held all the time`);
  }

  /** A state that a watch has told, after `last`. */
  state(who: string, name: string, state: LockState, last: LockState | undefined): void {
    this.#world.history.tell(
      who,
      () => `sees ${name} at r${String(state.revision)}: ${state.holders[0]?.key ?? 'free'}, ${String(state.waiting)} wait`,
    );
    this.figures.seen();
    const problem = stateProblem(this.#world.record, name, state);
    if (problem !== undefined) this.violated('state', `${who} watches ${name}: ${problem}`);
    if (last !== undefined && state.revision < last.revision)
      this.violated('state', `${who} watches ${name}: back from r${String(last.revision)}`);
    if (last !== undefined && !isDifferent(last, state)) this.violated('state', `${who} is told the same state of ${name} twice`);
  }

  watchFailed(process: LockerProcess, error: unknown, last: LockState | undefined): void {
    const problem = watchProblem(this.#world, process, error, last);
    if (problem !== undefined) this.violated('error', `${process.id} watches: ${problem}`);
  }

  /** It was frozen until now: the first thing it does is to ask whether it still holds. */
  woken(machine: Machine): void {
    if (!this.#world.scenario.readsHeld) return;
    for (const held of [...this.live]) {
      if (held.call.process.machine !== machine || !held.lock.held) continue;
      if (!this.#world.record.isAdmitted(held.call.name, held.token) && this.#world.record.tamperedAt(held.token) === undefined)
        this.violated('exclusion', `${String(held)} believes to hold at its first statement after waking`);
    }
  }

  crashed(process: LockerProcess): void {
    for (const call of [...this.pending]) if (call.process === process) this.pending.delete(call);
    for (const held of [...this.live]) if (held.call.process === process) this.live.delete(held);
  }

  closed(process: LockerProcess, tookMs: number): void {
    const { requestTimeoutMs } = this.#world.scenario;
    this.#world.history.tell(process.id, () => `is closed after ${tookMs.toFixed(1)} ms`);
    if (tookMs > requestTimeoutMs * 1.03 + 5) this.violated('close', `${process.id} took ${String(tookMs)} ms to close`);
    for (const call of this.pending) {
      if (call.process === process && call.options.timeoutMs === undefined) this.violated('close', `${call.id} still waits after close()`);
    }
    for (const held of this.live) if (held.call.process === process) this.violated('close', `${String(held)} is still held after close()`);
  }

  /** After every step. */
  step(): boolean {
    if (this.#world.scheduler.steps > mostSteps) this.violated('spin', `the run does not end: ${String(mostSteps)} steps`);
    checkStep(this.#world, this.#acquired);
    this.#acquired = [];
    return this.#violation !== undefined;
  }

  /** Once all is over: what was lost or released never came back. */
  checkOver(): void {
    for (const held of this.#over) {
      if (!held.call.process.isCrashed && held.lock.held) this.violated('final', `${String(held)} is held again`);
    }
  }
}
