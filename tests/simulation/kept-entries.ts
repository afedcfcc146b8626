/**
 * The entries that processes keep after a release: the rules `recall`, `stale` and `ghost` for them, and the holds that share one entry.
 *
 * A process with `keepMs` may leave its entry in etcd at a release, and give it to its next callers. All holds of one entry have its key
 * and token. The judge cannot see whether a process keeps an entry, so each entry that it may keep counts as kept.
 */
import type { KeyValue } from '../../src/store/store.ts';
import { type Call, type HeldLock, isPartOfMultiCall } from './calls.ts';
import type { World } from './world.ts';

interface Tenure {
  /** The last hold of the entry, if a caller had it. lockAll may have taken it on its way to the next name. */
  held: HeldLock | undefined;
  readonly call: Call;
  /** When the entry became free of callers. Undefined while it is held. */
  freeSinceMs: number | undefined;
  /** When the process must have given it back. */
  untilMs: number;
}

/** The time in which a process gives back an entry that another one waits for: a few round trips. Without faults. */
const recallMs = 60;
/** Longer than any chain of messages to a lock on a healthy network. */
const promptMs = 150;
/** A clock that runs slow counts too little of the time, and the delete takes a round trip. */
const lateShare = 1.03;
const graceMs = 100;

/** The rest of the time that a kept entry may stay, after a release of a call with these options. */
export const keepMsOf = (call: Pick<Call, 'options' | 'slots' | 'process'>): number => {
  const { keepMs, minHoldMs, renew } = call.options;
  return call.slots !== 1 || minHoldMs !== undefined || renew === false ? 0 : (keepMs ?? call.process.keepMs);
};

const idOf = (key: string, token: bigint): string => `${String(token)} ${key}`;

export class KeptEntries {
  readonly #world: World;
  readonly #tenures = new Map<string, Tenure>();
  /** The holds whose entries a restore has taken back. */
  readonly #undone = new WeakSet<HeldLock>();

  constructor(world: World) {
    this.#world = world;
  }

  /** When all of them are given back. */
  get endsAtMs(): number {
    const { record, scenario } = this.#world;
    const present = scenario.names.flatMap((name) => record.entries(name)).map(({ key, createRevision }) => idOf(key, createRevision));
    return Math.max(0, ...present.map((id) => this.#tenures.get(id)).map((tenure) => (tenure === undefined ? 0 : tenure.untilMs)));
  }

  /** Whether the process may keep the entry that a call gets. */
  mayReuse({ process }: Call, key: string, token: bigint): boolean {
    const tenure = this.#tenures.get(idOf(key, token));
    return tenure?.freeSinceMs !== undefined && tenure.call.process === process;
  }

  /** The last hold with this entry. */
  lastHold(key: string, token: bigint): HeldLock | undefined {
    return this.#tenures.get(idOf(key, token))?.held;
  }

  acquired(held: HeldLock): void {
    // The response of its creation was under way during the restore.
    if (held.token > this.#world.record.revision) this.#undone.add(held);
    this.#tenures.set(idOf(held.key, held.token), { held, call: held.call, freeSinceMs: undefined, untilMs: 0 });
  }

  released(held: HeldLock): void {
    const id = idOf(held.key, held.token);
    const keepMs = keepMsOf(held.call);
    if (keepMs > 0 && held.loss === undefined && !this.#undone.has(held)) this.#tenures.set(id, this.#freeTenure(held, held.call, keepMs));
    else this.#tenures.delete(id);
  }

  /** A call has ended without its lock. Its process may keep an entry that the call had, or was about to get. */
  settled(call: Call): void {
    const keepMs = keepMsOf(call);
    for (const { key, createRevision, value } of this.#world.record.entries(call.name)) {
      const id = idOf(key, createRevision);
      const tenure = this.#tenures.get(id);
      if (tenure === undefined) {
        // lockAll gives up the names that it already has.
        const wasTaken = isPartOfMultiCall(call) && value === call.value && this.#world.record.isAdmitted(call.name, key, createRevision);
        if (wasTaken && keepMs > 0) this.#tenures.set(id, this.#freeTenure(undefined, call, keepMs));
      } else if (tenure.freeSinceMs !== undefined && tenure.call.process === call.process) {
        this.#tenures.set(id, this.#freeTenure(tenure.held, tenure.call, Math.max(keepMs, keepMsOf(tenure.call))));
      }
    }
  }

  /** etcd went back in time: keys and tokens may come again. */
  forget(): void {
    for (const [id, { freeSinceMs, held }] of this.#tenures) {
      if (freeSinceMs !== undefined) this.#tenures.delete(id);
      else if (held !== undefined && this.#world.record.find(held.call.name, held.key, held.token) === undefined) this.#undone.add(held);
    }
  }

  /** Whether a process has had the lock of this entry, and nobody has it since. */
  isFree({ key, createRevision }: KeyValue): boolean {
    return this.#tenures.get(idOf(key, createRevision))?.freeSinceMs !== undefined;
  }

  /** Whether a process may keep the entry now. */
  isKept({ key, createRevision }: KeyValue): boolean {
    const tenure = this.#tenures.get(idOf(key, createRevision));
    return tenure?.freeSinceMs !== undefined && !tenure.call.process.isOver && this.#world.scheduler.nowMs <= tenure.untilMs;
  }

  /** Without faults, a kept entry makes nobody wait for longer than its recall. Returns whether the entry is kept. */
  check(name: string, entries: readonly KeyValue[]): boolean {
    const [head, next] = entries;
    if (head === undefined) return false;
    const tenure = this.#tenures.get(idOf(head.key, head.createRevision));
    if (tenure?.freeSinceMs === undefined) return false;
    // close() revokes its lease.
    if (tenure.call.process.isOver) return !tenure.call.process.isCrashed;
    const { judge, scheduler, settledMs, record } = this.#world;
    // lockAll has the first of its names while it waits for the next.
    if ([...judge.pending].some((call) => isPartOfMultiCall(call) && call.name === name && call.value === head.value)) return true;
    const sinceMs = Math.max(settledMs, tenure.freeSinceMs, record.headSinceMs(name));
    // An entry that no caller has had goes to the next caller of its process like any other entry.
    const limitMs = tenure.held === undefined ? promptMs : recallMs;
    const since = (ms: number): number => scheduler.nowMs - Math.max(sinceMs, ms);
    const title = `${head.key} '${head.value}' of ${tenure.call.process.id}`;
    if (next !== undefined && since(record.stateAt(name, next.createRevision).atMs) > limitMs)
      judge.violated('recall', `${title} is kept, but ${next.key} has waited behind it for ${String(limitMs)} ms`);
    for (const call of judge.pending) {
      const isLocal = call.process === tenure.call.process && call.name === name && call.usesLocalQueue;
      if (isLocal && since(call.startedMs) > promptMs)
        judge.violated('prompt', `${title} is kept, but ${call.id} has waited for it for ${String(promptMs)} ms`);
    }
    if (scheduler.nowMs > tenure.untilMs) judge.violated('ghost', `${title} is kept for longer than keepMs`);
    return true;
  }

  #freeTenure(held: HeldLock | undefined, call: Call, keepMs: number): Tenure {
    const { scheduler, lastEffectMs } = this.#world;
    const { nowMs } = scheduler;
    // Until the effects of faults are over, its machine may sleep, and the delete may get lost.
    return { held, call, freeSinceMs: nowMs, untilMs: Math.max(nowMs, lastEffectMs) + keepMs * lateShare + graceMs };
  }
}
