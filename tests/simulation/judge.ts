/**
 * Records every call and its result, and checks them against etcd's history.
 *
 * The first violation ends the run. The checks after every step are in invariants.ts. The checks of errors are in verdicts.ts.
 */
import { LockLostError } from '../../src/errors.ts';
import { queueRange } from '../../src/keys.ts';
import type { Lock } from '../../src/lock/lock.ts';
import type { LockOptions } from '../../src/options/options.ts';
import type { KeyValue } from '../../src/store/store.ts';
import type { LockDetails, LockState } from '../../src/states/state.ts';
import { type Call, type CallKind, HeldLock, isPartOfMultiCall } from './calls.ts';
import { Figures } from './figures.ts';
import { checkStep } from './invariants.ts';
import { isDifferent, stateProblem } from './states.ts';
import { KeptEntries } from './kept-entries.ts';
import type { LockerProcess } from './locker-process.ts';
import type { Machine } from './machine.ts';
import { MinimumHolds } from './minimum-holds.ts';
import type { MultiCall } from './multi-call.ts';
import type { CountedSignal } from './signals.ts';
import { Wishes } from './wishes.ts';
import { callProblem, isExplained, releaseProblem, valueProblem, watchProblem } from './verdicts.ts';
import type { World } from './world.ts';

export interface Violation {
  readonly rule: string;
  readonly message: string;
}

/** Ten times the steps of the longest of many thousand runs. */
const maxSteps = 400_000;

/** The rules that compare what a process knows with etcd's history. A restore changes the history. */
const historyRules: ReadonlySet<string> = new Set([
  'exclusion',
  'gone',
  'token',
  'kind',
  'value',
  'null',
  'signal',
  'state',
  'list',
  'place',
  'release',
  'order',
  'all',
  'minimum',
  'stale',
  'wanted',
]);

export class Judge {
  readonly figures = new Figures();
  readonly minimumHolds: MinimumHolds;
  readonly kept: KeptEntries;
  readonly wishes: Wishes;
  readonly pending = new Set<Call>();
  readonly live = new Set<HeldLock>();
  /** The locks of `lockAll` and `tryLockAll` that are held. */
  readonly multiCalls = new Set<MultiCall>();
  /** When a lock of the name was last released or lost. */
  readonly freedAtMs = new Map<string, number>();
  readonly #world: World;
  readonly #ended: HeldLock[] = [];
  /** The highest token of each kind that has held a name. */
  readonly #lastTokens = new Map<string, Map<number, bigint>>();
  /** The values of the entries whose creation was confirmed to the sender. */
  readonly #enqueued = new Set<string>();
  /** When a watcher saw a state. */
  readonly #seenAtMs = new WeakMap<LockState, number>();
  #acquired: Call[] = [];
  #violation: Violation | undefined;
  #calls = 0;

  constructor(world: World) {
    this.#world = world;
    this.minimumHolds = new MinimumHolds(world);
    this.kept = new KeptEntries(world);
    this.wishes = new Wishes(world);
  }

  get violation(): Violation | undefined {
    return this.#violation;
  }

  violated(rule: string, message: string): void {
    if (this.#violation !== undefined || (historyRules.has(rule) && this.#world.isBlurred && !this.#world.isSettled)) return;
    this.#violation = { rule, message };
    this.#world.history.add('JUDGE', () => `${rule}: ${message}`);
  }

  begin(
    process: LockerProcess,
    caller: string,
    kind: CallKind,
    name: string,
    options: LockOptions,
    signal: CountedSignal | undefined,
  ): Call {
    const { machine } = process;
    const isOurs = (call: Call): boolean => call.process === process && call.name === name;
    const call: Call = {
      id: `${caller}#${String(++this.#calls)}`,
      process,
      kind,
      name,
      options,
      signal,
      value: options.value ?? process.id,
      slots: options.slots ?? (options.mode === 'shared' ? Infinity : 1),
      // lockAll waits for one name after the other, and the judge does not know for which.
      usesLocalQueue: isPartOfMultiCall({ kind }) ? false : kind === 'tryLock' ? (options.timeoutMs ?? 0) > 0 : options.timeoutMs !== 0,
      startedMs: this.#world.scheduler.nowMs,
      startedAwakeMs: machine.awakeMs,
      startedMonotonicMs: machine.now().monotonicMs,
      clockJumps: machine.clockJumps,
      wasNameBusy:
        [...this.pending].some((one) => (one.usesLocalQueue || isPartOfMultiCall(one)) && isOurs(one)) ||
        [...this.live].some((held) => isOurs(held.call)),
    };
    this.pending.add(call);
    process.store.wire.noteProgress();
    this.#world.history.add(process.id, () => `${call.id} ${kind}(${name}) ${JSON.stringify({ ...options, signal: signal && 'given' })}`);
    return call;
  }

  enqueued(value: string): void {
    this.#enqueued.add(value);
  }

  wasEnqueued(call: Call): boolean {
    return call.options.value !== undefined && this.#enqueued.has(call.value);
  }

  /** Whether nobody else wanted the name from the start of the call until now. The judge can tell only of calls with a value of their own. */
  wasFree({ kind, name, value, options, wasNameBusy, startedMs }: Call): boolean {
    if (isPartOfMultiCall({ kind }) || wasNameBusy || options.value === undefined) return false;
    // The record forgets at a restore who was there before.
    if (this.#world.wasBlurredAt(startedMs)) return false;
    // Its own entry of a lost lease may be before its new one.
    return !this.#world.record.hasEntriesSince(name, startedMs, (entry, queue) => entry.value !== value || queue.length > 1);
  }

  acquired(call: Call, lock: Lock): HeldLock {
    const { scheduler, record, history } = this.#world;
    const { key, fencingToken } = lock;
    const isReused = this.kept.mayReuse(call, key, fencingToken);
    const held = new HeldLock(call, lock, scheduler.nowMs, isReused ? this.kept.lastHold(key, fencingToken) : undefined);
    history.add(call.process.id, () => `${call.id} HAS ${call.name}, token ${String(held.token)}${isReused ? ', kept' : ''}`);
    this.kept.acquired(held);
    this.settled(call);
    if (isReused) this.figures.kept += 1;
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
    this.minimumHolds.acquired(held);
    const tamperedAt = record.outsiderEndedAt(held.key, held.token);
    const last = this.#world.wasBlurredAt(call.startedMs) ? 0n : this.#tokenBefore(call);
    // If an outsider deleted the entry while the response was under way, others may have held meanwhile.
    // All holds of an entry that the process keeps have its token.
    if (tamperedAt === undefined && (held.token < last || (held.token === last && !isReused)))
      this.violated('token', `${String(held)} comes after token ${String(last)}`);
    if (!this.#world.isBlurred) this.#noteToken(call, held.token);
    // lockAll was admitted to its first names some time ago.
    const isJustAdmitted = !isPartOfMultiCall(call);
    // A call that gets a kept entry sends no request, so only a watch on the entry could tell.
    const { evidence } = call.process.store;
    if (isJustAdmitted && isReused && tamperedAt !== undefined && evidence.isReported({ key, createRevision: held.token }, tamperedAt))
      this.violated('gone', `${String(held)} got its lock although the deletion of its entry was reported`);
    const problem = isJustAdmitted && !isReused && tamperedAt !== undefined ? this.#goneProblem(held, tamperedAt) : undefined;
    if (problem !== undefined) this.violated('gone', `${String(held)} got its lock ${problem}`);
    const { ttlMs = 0, maxHoldMs = Infinity } = call.options;
    const minMs = Math.min(maxHoldMs * 0.97, (1_000 * Math.ceil(ttlMs / 1_000)) / 3) - 1;
    if (isJustAdmitted && lock.remainingMs < minMs)
      this.violated('short', `${String(held)} has ${lock.remainingMs.toFixed(1)} ms left when its call resolves`);
    if (tamperedAt === undefined && record.slotsOf(call.name, held.key, held.token) !== call.slots)
      this.violated('kind', `${String(held)} asked for ${String(call.slots)} slots, but its entry is of another kind`);
    if (lock.value !== call.value)
      this.violated('value', `${String(held)} has the value '${lock.value}', but '${call.value}' was requested`);
    return held;
  }

  /** What the process should have known of the end of the entry at `endedAt`, when its call resolved. */
  #goneProblem({ call: { name, process }, key, token }: HeldLock, endedAt: bigint): string | undefined {
    const { evidence, wire } = process.store;
    const entry = { key, createRevision: token };
    const seenAt = evidence.seenAt(entry);
    if (endedAt <= seenAt) return 'by a look that showed that its entry was gone';
    if (evidence.isReported(entry, endedAt)) return 'although the watch on its entry has reported the deletion';
    const wasAdmitted = this.#world.record.stateAt(name, seenAt).holders.some((one) => one.key === key && one.createRevision === token);
    // The response that admitted it was still under way.
    if (wasAdmitted && endedAt > wire.answeredAt) return undefined;
    // A deletion of what was in its way may have admitted it. The look of another entry of the process may have shown its admission before.
    if (evidence.awaitsReport(entry, queueRange('locks/', name), endedAt)) return undefined;
    return wasAdmitted
      ? 'by a response that is newer than the deletion of its entry'
      : 'although its entry was gone, and no watch is about to report that';
  }

  /** The highest token that must be below that of the call. Holders of one shared kind may learn of their admission in any order. */
  #tokenBefore({ name, slots }: Call): bigint {
    const tokens = [...(this.#lastTokens.get(name) ?? [])].filter(([kind]) => kind !== slots || slots === 1).map(([, token]) => token);
    return tokens.reduce((a, b) => (a > b ? a : b), 0n);
  }

  /** etcd went back in time: tokens may come again. */
  forgetTokens(): void {
    this.#lastTokens.clear();
    this.minimumHolds.forget();
    this.kept.forget();
  }

  #noteToken({ name, slots }: Call, token: bigint): void {
    const tokens = this.#lastTokens.get(name) ?? new Map<number, bigint>();
    if (token > (tokens.get(slots) ?? 0n)) this.#lastTokens.set(name, tokens.set(slots, token));
  }

  #lost(held: HeldLock, reason: unknown): void {
    const { record, history, isSettled } = this.#world;
    const { process, name } = held.call;
    history.add(process.id, () => `${String(held)} is LOST: ${String(reason)}`);
    if (!(reason instanceof LockLostError)) {
      this.violated('signal', `${String(held)} aborted with ${String(reason)}`);
      return;
    }
    if (held.loss !== undefined) this.violated('signal', `${String(held)} was lost twice`);
    if (held.isReleased) this.violated('signal', `${String(held)} was lost after its release`);
    held.loss = reason;
    this.figures.lost(reason.reason);
    if (reason.reason === 'closed' && process.isOpen) this.violated('signal', `${String(held)} was lost as closed, but its locker is open`);
    if (reason.reason === 'closed' && process.isDraining) this.violated('close', `${String(held)} was lost as closed during the drain`);
    const isThere = !this.#world.isBlurred && record.find(name, held.key, held.token) !== undefined;
    if (reason.reason === 'deleted' && !isPartOfMultiCall(held.call) && isThere)
      this.violated('signal', `${String(held)} was lost as deleted, but its entry exists`);
    const isRequested = reason.reason === 'max-hold' ? held.call.options.maxHoldMs !== undefined : held.call.options.renew === false;
    if (reason.reason !== 'closed' && isSettled && !isRequested)
      this.violated('needless', `${String(held)} was lost without a fault: ${reason.reason}`);
    this.#end(held);
    this.kept.released(held);
  }

  /** `tryLock` or `tryLockAll` returned null. */
  gotNull(...calls: readonly [Call, ...Call[]]): void {
    const { record, history } = this.#world;
    const [{ id, process, options, startedMonotonicMs }] = calls;
    history.add(process.id, () => `${id} gets null`);
    for (const call of calls) this.#gaveUp(call);
    this.figures.gotNull();
    const { timeoutMs = 0 } = options;
    const waitedMs = process.machine.now().monotonicMs - startedMonotonicMs;
    if (timeoutMs > 0 && waitedMs < timeoutMs - 1) this.violated('error', `${id} got null after ${String(waitedMs)} ms`);
    const wasFree = ({ name, wasNameBusy, startedMs }: Call): boolean =>
      !wasNameBusy && record.entries(name).length === 0 && record.busyAtMs(name) < startedMs;
    if (timeoutMs === 0 && calls.every(wasFree)) this.violated('null', `${id} got null, but the name was free`);
    if (calls.every((call) => this.wasFree(call))) this.violated('null', `${id} got null, but nobody else wanted the name`);
  }

  failed(...[error, ...calls]: readonly [unknown, Call, ...Call[]]): void {
    const [call] = calls;
    this.#world.history.add(call.process.id, () => `${call.id} fails: ${String(error)}`);
    for (const one of calls) this.#gaveUp(one);
    const problem = callProblem(this.#world, call, error);
    if (problem !== undefined) this.violated('error', `${call.id}: ${problem}`);
    this.figures.failed(error);
  }

  /** The call has ended without its lock. */
  #gaveUp(call: Call): void {
    this.settled(call);
    this.kept.settled(call);
  }

  settled(call: Call): void {
    this.pending.delete(call);
    call.process.store.wire.noteProgress();
    // The call releases now the names that it already had.
    if (isPartOfMultiCall(call)) this.freedAtMs.set(call.name, this.#world.scheduler.nowMs);
    if ((call.signal?.listeners ?? 0) > 0) this.violated('listeners', `${call.id} left a listener on its signal`);
  }

  /** Must be called just before the release. */
  releasing(held: HeldLock): void {
    const { lock, call } = held;
    this.#world.history.add(call.process.id, () => `${String(held)} is released`);
    call.process.store.wire.noteProgress();
    held.deadlineMs = call.process.machine.now().monotonicMs + lock.remainingMs;
    held.isReleased = held.loss === undefined;
    this.#end(held);
    this.kept.released(held);
  }

  released(held: HeldLock, error?: Error): void {
    this.figures.released();
    const { process } = held.call;
    if (error !== undefined && !isExplained(this.#world, process, error, held.acquiredMs))
      this.violated('error', `the release of ${String(held)} rejected: ${String(error)}`);
    // etcd may have refused the delete. withLock does not report that if its callback has thrown. A full etcd refuses the put of a minimum hold.
    const { faultSchedule } = this.#world;
    const wasFull = (held.call.options.minHoldMs ?? 0) > 0 && faultSchedule.wasFullSince(held.acquiredMs);
    const isRefused = wasFull || faultSchedule.hadWrongPasswordSince(process.machine, held.acquiredMs);
    const problem = isRefused ? undefined : releaseProblem(this.#world, held);
    if (problem !== undefined) this.violated('release', `${String(held)}: ${problem}`);
    if (error === undefined && !isRefused && held.isReleased) this.minimumHolds.released(held);
  }

  #end(held: HeldLock): void {
    if (!this.live.delete(held)) return;
    this.#ended.push(held);
    this.wishes.ended(held);
    this.freedAtMs.set(held.call.name, this.#world.scheduler.nowMs);
  }

  settingValue(held: HeldLock, value: string): number {
    this.#world.history.add(held.call.process.id, () => `${String(held)} sets '${value}'`);
    held.call.process.store.wire.noteProgress();
    return held.values.push(value) - 1;
  }

  valueSet(held: HeldLock, at: number, startedMonotonicMs: number, error?: Error): void {
    this.#world.history.add(held.call.process.id, () => `'${held.values[at] ?? ''}' ${error === undefined ? 'is set' : String(error)}`);
    if (error === undefined) held.confirmedIndex = Math.max(held.confirmedIndex, at);
    const problem = error === undefined ? undefined : valueProblem(this.#world, held, error, startedMonotonicMs);
    if (problem !== undefined) this.violated('error', `setValue of ${String(held)}: ${problem}`);
  }

  inspected(reader: string, name: string, details: LockDetails): void {
    const problem = stateProblem(this.#world.record, name, details);
    if (problem !== undefined) this.violated('state', `${reader} inspects ${name}: ${problem}`);
  }

  /** Checks the result of `list`. `holders` are the entries that held from its start to its end. */
  listed(reader: string, states: readonly LockState[], holders: readonly KeyValue[]): void {
    const names = states.map(({ name }) => name);
    if (new Set(names).size < names.length) this.violated('list', `${reader} lists a name twice: ${names.join()}`);
    for (const state of states) {
      const problem = stateProblem(this.#world.record, state.name, state);
      if (problem !== undefined) this.violated('list', `${reader} lists ${state.name}: ${problem}`);
    }
    const listedKeys = new Set(states.flatMap((state) => state.holders.map(({ key }) => key)));
    for (const { key } of holders)
      if (!listedKeys.has(key)) this.violated('list', `${reader} does not list ${key}, which held all the time`);
  }

  /** Checks a state of a watch. `last` is the state before it. */
  state(watcher: string, name: string, state: LockState, last: LockState | undefined): void {
    this.#world.history.add(
      watcher,
      () => `sees ${name} at r${String(state.revision)}: ${state.holders[0]?.key ?? 'free'}, ${String(state.waiting)} wait`,
    );
    this.figures.stateSeen();
    const problem = stateProblem(this.#world.record, name, state);
    if (problem !== undefined) this.violated('state', `${watcher} watches ${name}: ${problem}`);
    const isOrdered = !this.#world.wasBlurredAt(this.#seenAtMs.get(last ?? state) ?? 0);
    this.#seenAtMs.set(state, this.#world.scheduler.nowMs);
    if (last !== undefined && isOrdered && state.revision < last.revision)
      this.violated('state', `${watcher} watches ${name}: its revision went back from r${String(last.revision)}`);
    if (last !== undefined && !isDifferent(last, state)) this.violated('state', `${watcher} watches ${name}: it got the same state twice`);
  }

  watchFailed(process: LockerProcess, error: unknown, last: LockState | undefined): void {
    const problem = watchProblem(this.#world, process, error, last);
    if (problem !== undefined) this.violated('error', `${process.id} watches: ${problem}`);
  }

  /** Called when a frozen machine wakes: its first statement reads `held`. */
  woken(machine: Machine): void {
    if (!this.#world.scenario.readsHeld) return;
    for (const held of [...this.live]) {
      if (held.call.process.machine !== machine || !held.lock.held) continue;
      if (
        !this.#world.record.isAdmitted(held.call.name, held.key, held.token) &&
        this.#world.record.outsiderEndedAt(held.key, held.token) === undefined
      )
        this.violated('exclusion', `${String(held)} reads as held at the first statement after waking`);
    }
  }

  crashed(process: LockerProcess): void {
    for (const call of [...this.pending]) if (call.process === process) this.pending.delete(call);
    for (const held of [...this.live]) if (held.call.process === process) this.live.delete(held);
  }

  /** Called a little after the beginning of close(). */
  closing(process: LockerProcess): void {
    if (process.isCrashed || process.machine.isFrozen) return;
    for (const call of this.pending) {
      if (call.process === process && call.usesLocalQueue) this.violated('close', `${call.id} still waits at the beginning of close()`);
    }
  }

  closed(process: LockerProcess, tookMs: number, drainMs: number): void {
    const { requestTimeoutMs } = this.#world.scenario;
    this.#world.history.add(process.id, () => `is closed after ${tookMs.toFixed(1)} ms`);
    if (tookMs > (drainMs + requestTimeoutMs) * 1.03 + 5) this.violated('close', `${process.id} needed ${String(tookMs)} ms to close`);
    for (const call of this.pending) {
      if (call.process === process && call.options.timeoutMs === undefined) this.violated('close', `${call.id} still waits after close()`);
    }
    for (const held of this.live) if (held.call.process === process) this.violated('close', `${String(held)} is still held after close()`);
  }

  /** Runs after every step, and returns whether a rule is broken. */
  step(): boolean {
    if (this.#world.scheduler.steps > maxSteps) this.violated('spin', `the run does not end: ${String(maxSteps)} steps`);
    checkStep(this.#world, this.#acquired);
    this.#acquired = [];
    return this.#violation !== undefined;
  }

  /** Runs at the end: no lock that was lost or released is held again. */
  checkFinal(): void {
    for (const held of this.#ended) {
      if (!held.call.process.isCrashed && held.lock.held) this.violated('final', `${String(held)} is held again`);
    }
  }
}
