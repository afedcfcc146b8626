/**
 * The history of etcd, revision by revision. The judge checks everything against it.
 *
 * It has the queue of each name and its holders at each revision, and knows the entries that an outsider has ended.
 */
import { leaseHex, queueRange, type QueueRange } from '../../src/keys.ts';
import type { Mode } from '../../src/kind.ts';
import type { MemoryEtcd } from '../../src/store/memory/memory-etcd.ts';
import type { KeyValue, WatchEvent } from '../../src/store/store.ts';

export interface Change {
  readonly revision: bigint;
  readonly atMs: number;
  readonly events: readonly WatchEvent[];
}

/** The queue of a name from `revision` on, oldest entry first. */
export interface QueueState {
  readonly revision: bigint;
  readonly entries: readonly KeyValue[];
  /** The entries that hold. */
  readonly holders: readonly KeyValue[];
  /** When it became the queue. */
  readonly atMs: number;
}

interface Kind {
  readonly mode: Mode;
  readonly slots: number;
  readonly foreign: boolean;
}

interface Queue {
  readonly name: string;
  readonly range: QueueRange;
  readonly states: QueueState[];
  /** When the present first entry became the first. */
  headSinceMs: number;
  /** When the queue last had an entry. */
  busyAtMs: number;
}

const prefix = 'locks/';
const gates = `${prefix}@sessions/`;
const emptyQueue: QueueState = { revision: 0n, entries: [], holders: [], atMs: 0 };

export class EtcdRecord {
  readonly #etcd: MemoryEtcd;
  readonly #now: () => number;
  readonly #queues: readonly Queue[];
  readonly #changes: Change[] = [];
  readonly #listeners = new Set<(change: Change) => void>();
  /** The entries that an outsider ended, by key and token: the revision of the deletion. Entries of one revision have one token. */
  readonly #endedByOutsider = new Map<string, bigint>();
  readonly #deletedGates = new Set<string>();
  readonly #kinds = new Map<string, Kind>();
  /** The values that an entry has had, since its creation or by a later write. */
  readonly #values = new Set<string>();
  #created: { readonly name: string; readonly entry: KeyValue }[] = [];
  /** The entries that were deleted since `takeAbandoned`, although their leases live and no outsider did it. */
  #abandoned: { readonly name: string; readonly entry: KeyValue }[] = [];
  #isOutsider = false;

  constructor(etcd: MemoryEtcd, names: readonly string[], now: () => number) {
    this.#etcd = etcd;
    this.#now = now;
    this.#queues = names.map((name) => ({
      name,
      range: queueRange(prefix, name),
      states: [emptyQueue],
      headSinceMs: 0,
      busyAtMs: -1,
    }));
    const onEvents = (events: readonly WatchEvent[]): void => {
      this.#record(events);
    };
    const onRestore = (): void => {
      this.#beginAnew();
    };
    etcd.watch({ key: ' ', rangeEnd: '~' }, onEvents, onRestore);
  }

  get revision(): bigint {
    return this.#etcd.revision;
  }

  /** Returns the entries that their processes have deleted since the last call. */
  takeAbandoned(): readonly { readonly name: string; readonly entry: KeyValue }[] {
    const abandoned = this.#abandoned;
    if (abandoned.length > 0) this.#abandoned = [];
    return abandoned;
  }

  /** Runs `act`. Entries that it deletes count as ended by an outsider. */
  asOutsider(act: () => void): void {
    this.#isOutsider = true;
    try {
      act();
    } finally {
      this.#isOutsider = false;
    }
  }

  /** The revision at which an outsider ended the entry with this key and token, if one did. */
  outsiderEndedAt(key: string, token: bigint): bigint | undefined {
    return this.#endedByOutsider.get(idOf({ key, createRevision: token }));
  }

  /** Returns the entries that were created since the last call, in their order. */
  takeCreated(): readonly { readonly name: string; readonly entry: KeyValue }[] {
    const created = this.#created;
    if (created.length > 0) this.#created = [];
    return created;
  }

  /** Whether an entry has, or had, this value before the changes that `takeCreated` returns next. */
  hadValue(value: string): boolean {
    return this.#values.has(value);
  }

  noteValue(value: string): void {
    this.#values.add(value);
  }

  /** Whether an outsider has deleted the gate of this lease. */
  isGateDeleted(leaseId: string): boolean {
    return this.#deletedGates.has(leaseHex(leaseId));
  }

  entries(name: string): readonly KeyValue[] {
    return this.#last(this.#queue(name)).entries;
  }

  find(name: string, key: string, token: bigint): KeyValue | undefined {
    return this.entries(name).find((entry) => entry.key === key && entry.createRevision === token);
  }

  /** The entries that hold the name now. */
  holders(name: string): readonly KeyValue[] {
    return this.#last(this.#queue(name)).holders;
  }

  isAdmitted(name: string, key: string, token: bigint): boolean {
    return this.holders(name).some((entry) => entry.key === key && entry.createRevision === token);
  }

  kindOf(key: string): Kind {
    const known = this.#kinds.get(key);
    if (known !== undefined) return known;
    const kind = readKind(key);
    this.#kinds.set(key, kind);
    return kind;
  }

  /** The slots of the entry with this key and token, or undefined if the entry is gone. */
  slotsOf(name: string, key: string, token: bigint): number | undefined {
    const entry = this.find(name, key, token);
    return entry === undefined ? undefined : this.kindOf(entry.key).slots;
  }

  headSinceMs(name: string): number {
    return this.#queue(name).headSinceMs;
  }

  /** When the queue last changed. */
  changedAtMs(name: string): number {
    return this.#last(this.#queue(name)).atMs;
  }

  busyAtMs(name: string): number {
    return this.#queue(name).busyAtMs;
  }

  /** Whether the queue has had an entry that `matches`, at any moment from `sinceMs` on. */
  hasEntriesSince(name: string, sinceMs: number, matches: (entry: KeyValue, queue: readonly KeyValue[]) => boolean): boolean {
    const { states } = this.#queue(name);
    for (let at = states.length - 1; at >= 0; at -= 1) {
      const { entries = [], atMs = 0 } = states[at] ?? {};
      if (entries.some((entry) => matches(entry, entries))) return true;
      if (atMs < sinceMs) return false;
    }
    return false;
  }

  /** The queue at `revision`. */
  stateAt(name: string, revision: bigint): QueueState {
    const { states } = this.#queue(name);
    for (let at = states.length - 1; at > 0; at -= 1) {
      const state = states[at];
      if (state !== undefined && state.revision <= revision) return state;
    }
    return emptyQueue;
  }

  /** The changes after `atMs`. */
  changesSince(atMs: number): readonly Change[] {
    let from = this.#changes.length;
    while (from > 0 && (this.#changes[from - 1]?.atMs ?? 0) > atMs) from -= 1;
    return this.#changes.slice(from);
  }

  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #record(events: readonly WatchEvent[]): void {
    const change: Change = { revision: this.#etcd.revision, atMs: this.#now(), events };
    this.#changes.push(change);
    for (const { type, kv } of events) {
      if (this.#isOutsider && type === 'delete' && kv.key.startsWith(gates)) this.#deletedGates.add(kv.key.slice(gates.length));
    }
    for (const queue of this.#queues) this.#updateQueue(queue, change);
    for (const listener of [...this.#listeners]) listener(change);
  }

  /** Begins a new history after a restore: revisions and tokens of the old one may come again. */
  #beginAnew(): void {
    this.#changes.length = 0;
    this.#endedByOutsider.clear();
    this.#deletedGates.clear();
    for (const queue of this.#queues) {
      const { ranges } = this.#etcd.commit({ compare: [], then: [{ range: { ...queue.range, order: 'oldest' } }], otherwise: [] });
      const entries = ranges[0] ?? [];
      queue.states.length = 0;
      queue.states.push(emptyQueue, { revision: this.#etcd.revision, entries, holders: this.#holdersOf(entries), atMs: this.#now() });
      queue.headSinceMs = this.#now();
      if (entries.length > 0) queue.busyAtMs = this.#now();
    }
  }

  #updateQueue(queue: Queue, { revision, events }: Change): void {
    const ofQueue = events.filter(({ kv }) => kv.key.startsWith(queue.range.key));
    if (ofQueue.length === 0) return;
    const before = this.#last(queue);
    let entries = [...before.entries];
    for (const { type, kv } of ofQueue) {
      const at = entries.findIndex(({ key }) => key === kv.key);
      const old = entries[at];
      if (type === 'delete') {
        if (this.#isOutsider && old !== undefined) this.#endedByOutsider.set(idOf(old), revision);
        else if (old !== undefined && this.#etcd.leaseIds.includes(old.leaseId)) this.#abandoned.push({ name: queue.name, entry: old });
        entries = entries.filter(({ key }) => key !== kv.key);
      } else if (old === undefined) {
        entries.push(kv);
        this.#created.push({ name: queue.name, entry: kv });
      } else {
        entries[at] = kv;
        this.#values.add(kv.value);
      }
    }
    if (before.entries.length > 0 || entries.length > 0) queue.busyAtMs = this.#now();
    if (before.entries[0]?.key !== entries[0]?.key || before.entries[0]?.createRevision !== entries[0]?.createRevision)
      queue.headSinceMs = this.#now();
    queue.states.push({ revision, entries, holders: this.#holdersOf(entries), atMs: this.#now() });
  }

  /** The admission rule: an entry holds if all entries before it are of its kind, and fewer than its slots. */
  #holdersOf(entries: readonly KeyValue[]): readonly KeyValue[] {
    return entries.filter(({ key }, index) => {
      const { slots } = this.kindOf(key);
      return index < slots && entries.slice(0, index).every((before) => this.kindOf(before.key).slots === slots);
    });
  }

  #last({ states }: Queue): QueueState {
    return states[states.length - 1] ?? emptyQueue;
  }

  #queue(name: string): Queue {
    const queue = this.#queues.find((one) => one.name === name);
    if (queue === undefined) throw new RangeError(`Cannot find the name ${name}: this run does not use it`);
    return queue;
  }
}

const idOf = ({ key, createRevision }: Pick<KeyValue, 'key' | 'createRevision'>): string => `${String(createRevision)} ${key}`;

function readKind(key: string): Kind {
  const suffix = key.slice(key.lastIndexOf('/') + 1);
  const [, kind] = /^[0-9a-f]+-\d+(-shared|-of-\d+)?$/.exec(suffix) ?? [];
  const slots = kind === undefined ? 1 : kind === '-shared' ? Infinity : Number(kind.slice('-of-'.length));
  return { mode: slots === 1 ? 'exclusive' : 'shared', slots, foreign: !/^[0-9a-f]+-\d/.test(suffix) };
}
