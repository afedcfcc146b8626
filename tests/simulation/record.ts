/**
 * What etcd did, revision by revision: the truth that all else is judged by.
 *
 * It follows the queue of each name, knows who was first at any revision, and which entries were ended by somebody else.
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

/** A name's queue, oldest first, from `revision` on. */
export interface QueueState {
  readonly revision: bigint;
  readonly entries: readonly KeyValue[];
  /** Those of them that hold. */
  readonly holders: readonly KeyValue[];
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
  /** Since when the first of it is the first. */
  headSinceMs: number;
  /** When it was not empty last. */
  busyAtMs: number;
}

const prefix = 'locks/';
const gates = `${prefix}@sessions/`;
const emptyQueue: QueueState = { revision: 0n, entries: [], holders: [] };

export class Record {
  readonly #etcd: MemoryEtcd;
  readonly #now: () => number;
  readonly #queues: readonly Queue[];
  readonly #changes: Change[] = [];
  readonly #listeners = new Set<(change: Change) => void>();
  /** Of each entry that was ended by an outsider: when, as a revision. */
  readonly #tampered = new Map<bigint, bigint>();
  readonly #gatesGone = new Set<string>();
  readonly #kinds = new Map<string, Kind>();
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
    etcd.watch({ key: ' ', rangeEnd: '~' }, (events) => {
      this.#take(events);
    });
  }

  get revision(): bigint {
    return this.#etcd.revision;
  }

  /** Whatever `act` deletes counts as ended by an outsider. */
  byOutsider(act: () => void): void {
    this.#isOutsider = true;
    try {
      act();
    } finally {
      this.#isOutsider = false;
    }
  }

  /** The revision at which an outsider ended the entry of that token, if one did. */
  tamperedAt(token: bigint): bigint | undefined {
    return this.#tampered.get(token);
  }

  /** Whether somebody else has deleted the gate of that lease. */
  isGateGone(leaseId: string): boolean {
    return this.#gatesGone.has(leaseHex(leaseId));
  }

  entries(name: string): readonly KeyValue[] {
    return this.#last(this.#queue(name)).entries;
  }

  find(name: string, token: bigint): KeyValue | undefined {
    return this.entries(name).find(({ createRevision }) => createRevision === token);
  }

  /** Those that hold. */
  holders(name: string): readonly KeyValue[] {
    return this.#last(this.#queue(name)).holders;
  }

  isAdmitted(name: string, token: bigint): boolean {
    return this.holders(name).some(({ createRevision }) => createRevision === token);
  }

  kindOf(key: string): Kind {
    const known = this.#kinds.get(key);
    if (known !== undefined) return known;
    const kind = readKind(key);
    this.#kinds.set(key, kind);
    return kind;
  }

  /** The kind of the entry of that token; undefined where it is gone. */
  slotsOf(name: string, token: bigint): number | undefined {
    const entry = this.find(name, token);
    return entry === undefined ? undefined : this.kindOf(entry.key).slots;
  }

  headSinceMs(name: string): number {
    return this.#queue(name).headSinceMs;
  }

  busyAtMs(name: string): number {
    return this.#queue(name).busyAtMs;
  }

  /** The queue as it was at `revision`. */
  stateAt(name: string, revision: bigint): QueueState {
    const { states } = this.#queue(name);
    for (let at = states.length - 1; at > 0; at -= 1) {
      const state = states[at];
      if (state !== undefined && state.revision <= revision) return state;
    }
    return emptyQueue;
  }

  /** Every revision after those that were there by `atMs`. */
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

  #take(events: readonly WatchEvent[]): void {
    const change: Change = { revision: this.#etcd.revision, atMs: this.#now(), events };
    this.#changes.push(change);
    for (const { type, kv } of events) {
      if (this.#isOutsider && type === 'delete' && kv.key.startsWith(gates)) this.#gatesGone.add(kv.key.slice(gates.length));
    }
    for (const queue of this.#queues) this.#follow(queue, change);
    for (const listener of [...this.#listeners]) listener(change);
  }

  #follow(queue: Queue, { revision, events }: Change): void {
    const own = events.filter(({ kv }) => kv.key.startsWith(queue.range.key));
    if (own.length === 0) return;
    const before = this.#last(queue);
    let entries = [...before.entries];
    for (const { type, kv } of own) {
      const at = entries.findIndex(({ key }) => key === kv.key);
      const old = entries[at];
      if (type === 'delete') {
        if (this.#isOutsider && old !== undefined) this.#tampered.set(old.createRevision, revision);
        entries = entries.filter(({ key }) => key !== kv.key);
      } else if (old === undefined) entries.push(kv);
      else entries[at] = kv;
    }
    if (before.entries.length > 0 || entries.length > 0) queue.busyAtMs = this.#now();
    if (before.entries[0]?.createRevision !== entries[0]?.createRevision) queue.headSinceMs = this.#now();
    queue.states.push({ revision, entries, holders: this.#holdersOf(entries) });
  }

  /** By the rule of the design: all before it are of its kind, and fewer than its slots. So they are the first ones, of one kind. */
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
    if (queue === undefined) throw new RangeError(`There is no name ${name} in this run`);
    return queue;
  }
}

function readKind(key: string): Kind {
  const suffix = key.slice(key.lastIndexOf('/') + 1);
  const [, kind] = /^[0-9a-f]+-\d+(-shared|-of-\d+)?$/.exec(suffix) ?? [];
  const slots = kind === undefined ? 1 : kind === '-shared' ? Infinity : Number(kind.slice('-of-'.length));
  return { mode: slots === 1 ? 'exclusive' : 'shared', slots, foreign: !/^[0-9a-f]+-\d/.test(suffix) };
}
