/**
 * Lists the states of all held names, page by page in the order of the keys.
 *
 * A page may end in the middle of a queue. The name of that queue is then read again as a whole. So each state is complete at its own
 * revision, and a name that exists during the whole listing appears exactly once.
 */
import { keepAlive } from '../clock.ts';
import type { Context } from '../context.ts';
import { keyAfter, nameOf, namesRange, queueRange, type QueueRange } from '../keys.ts';
import type { KeyValue } from '../store/store.ts';
import { describeQueue, inspectName, type LockDetails, type LockState, type LockStateIterator, toLockState } from './state.ts';

/** Entries per page. A value has up to 64 KiB, and a response must stay below the size limit of gRPC clients. */
const pageSize = 200;

/** @param check throws if the locker takes no more requests; called before each page */
export async function* listStates(context: Context, startsWith: string, check: () => void): AsyncGenerator<LockState, void, undefined> {
  const names = namesRange(context.prefix, startsWith);
  for (let key: string | undefined = names.key; key !== undefined;) {
    check();
    const range: QueueRange = { ...names, key };
    const { states, nextKey } = await keepAlive(context.clock, () => readPage(context, range));
    for (const state of states) if (state.held) yield toLockState(state);
    key = nextKey;
  }
}

/** Adds the method for `await using`, which generators have from Node 24 on. */
export function toIterator(states: AsyncGenerator<LockState, void, undefined>): LockStateIterator {
  if (Symbol.asyncDispose in states) return states;
  const dispose = async (): Promise<void> => {
    await (states as AsyncGenerator).return(undefined);
  };
  return Object.defineProperty(states, Symbol.asyncDispose, { value: dispose });
}

interface Page {
  readonly states: readonly LockDetails[];
  /** Undefined for the last page. */
  readonly nextKey: string | undefined;
}

async function readPage(context: Context, range: QueueRange): Promise<Page> {
  const { prefix, store } = context;
  const { revision, ranges } = await store.commit({ compare: [], then: [{ range: { ...range, limit: pageSize } }], otherwise: [] });
  const kvs = ranges[0] ?? [];
  const states = groupByName(prefix, kvs).map(([name, entries]) => describeQueue(name, queueRange(prefix, name), entries, revision));
  if (kvs.length < pageSize) return { states, nextKey: undefined };
  // The last queue may continue beyond the page. A page of keys that are in no queue has none.
  const last = states.pop();
  if (last === undefined) return { states, nextKey: keyAfter(prefix, kvs.at(-1)?.key ?? '') };
  states.push(await inspectName(context, last.name));
  return { states, nextKey: queueRange(prefix, last.name).rangeEnd };
}

/** Groups the entries by their names, and leaves out keys that are in no queue. */
export function groupByName(prefix: string, kvs: readonly KeyValue[]): [name: string, entries: KeyValue[]][] {
  const queues = new Map<string, KeyValue[]>();
  for (const kv of kvs) {
    const name = nameOf(prefix, kv.key);
    if (name === undefined) continue;
    const entries = queues.get(name);
    if (entries === undefined) queues.set(name, [kv]);
    else entries.push(kv);
  }
  return [...queues];
}
