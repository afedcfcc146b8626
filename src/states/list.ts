/**
 * Lists the states of all held names, page by page in the order of the keys.
 *
 * A page may end in the middle of a queue. The name of that queue is then read again as a whole. So each state is complete at its own
 * revision, and a name that exists during the whole listing appears exactly once.
 */
import type { Context } from '../context.ts';
import { keyAfter, nameOf, namesRange, queueRange, type QueueRange } from '../keys.ts';
import type { KeyValue } from '../store/store.ts';
import { readPage } from './pages.ts';
import { readLeaseTimes } from './lease-times.ts';
import { describeQueue, inspectName, type LockDetails, type LockState, type LockStateIterator, toLockState } from './state.ts';

/** @param untilClosed runs the read of a page, and rejects if the locker is closed or closes meanwhile */
export async function* listStates(
  context: Context,
  startsWith: string,
  untilClosed: (read: () => Promise<StatesPage>) => Promise<StatesPage>,
): AsyncGenerator<LockState, void, undefined> {
  const names = namesRange(context.prefix, startsWith);
  for (let key: string | undefined = names.key; key !== undefined;) {
    const range: QueueRange = { ...names, key };
    const { states, nextKey } = await untilClosed(() => readStates(context, range));
    for (const state of states) yield state;
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

interface StatesPage {
  /** The held names. */
  readonly states: readonly LockState[];
  /** Undefined for the last page. */
  readonly nextKey: string | undefined;
}

async function readStates(context: Context, range: QueueRange): Promise<StatesPage> {
  const { prefix, store } = context;
  const { revision, kvs, isLast } = await readPage(store, range);
  const states = groupByName(prefix, kvs).map(([name, entries]) => describeQueue(name, queueRange(prefix, name), entries, revision));
  if (isLast) return { states: await toHeld(context, states), nextKey: undefined };
  // The last queue may continue beyond the page. A page of keys that are in no queue has none.
  const last = states.pop();
  if (last === undefined) return { states: [], nextKey: keyAfter(prefix, kvs.at(-1)?.key ?? '') };
  states.push(await inspectName(context, last.name));
  return { states: await toHeld(context, states), nextKey: queueRange(prefix, last.name).rangeEnd };
}

/** Leaves out free names and waiters, and adds how long the leases of the holders last. */
async function toHeld(context: Context, states: readonly LockDetails[]): Promise<readonly LockState[]> {
  const held = states.filter((state) => state.held);
  const addLeaseTimes = await readLeaseTimes(
    context,
    held.flatMap(({ holders }) => holders),
  );
  return held.map((state) => toLockState({ ...state, holders: addLeaseTimes(state.holders) }));
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
