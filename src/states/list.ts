/**
 * Every name with an entry, page by page in the order of the keys.
 *
 * A page ends where it must, in the middle of a queue too; that name is then read again as a whole. So each state is what etcd had at
 * its revision, and a name that is there from the first page to the last is told once.
 */
import { keepAlive } from '../clock.ts';
import { keyAfter, nameOf, namesRange, queueRange, type QueueRange } from '../keys.ts';
import type { Context } from '../context.ts';
import type { KeyValue } from '../store/store.ts';
import { describe, inspectName, type LockDetails, type LockState } from './state.ts';

/** Values may have 64 KiB each, and an answer of etcd must not become too large to be taken in. */
const pageSize = 200;

/** @param check throws if the locker takes no more requests */
export async function* listStates(context: Context, startsWith: string, check: () => void): AsyncGenerator<LockState, void, undefined> {
  const names = namesRange(context.prefix, startsWith);
  for (let key: string | undefined = names.key; key !== undefined;) {
    check();
    const range: QueueRange = { ...names, key };
    const { states, nextKey } = await keepAlive(context.clock, () => readPage(context, range));
    for (const { name, held, holders, waiting, revision } of states) if (held) yield { name, held, holders, waiting, revision };
    key = nextKey;
  }
}

/** One page of states; `nextKey` is undefined on the last page. */
interface Page {
  readonly states: readonly LockDetails[];
  readonly nextKey: string | undefined;
}

async function readPage(context: Context, range: QueueRange): Promise<Page> {
  const { prefix, store } = context;
  const { revision, ranges } = await store.commit({ compare: [], then: [{ range: { ...range, limit: pageSize } }], otherwise: [] });
  const kvs = ranges[0] ?? [];
  const states = byName(prefix, kvs).map(([name, entries]) => describe(name, queueRange(prefix, name), entries, revision));
  if (kvs.length < pageSize) return { states, nextKey: undefined };
  const cut = states.pop();
  if (cut === undefined) return { states, nextKey: keyAfter(prefix, kvs.at(-1)?.key ?? '') };
  // The rest of this queue is beyond the page.
  states.push(await inspectName(context, cut.name));
  return { states, nextKey: queueRange(prefix, cut.name).rangeEnd };
}

export function byName(prefix: string, kvs: readonly KeyValue[]): [string, KeyValue[]][] {
  const names = new Map<string, KeyValue[]>();
  for (const kv of kvs) {
    const name = nameOf(prefix, kv.key);
    if (name === undefined) continue;
    const found = names.get(name);
    if (found === undefined) names.set(name, [kv]);
    else found.push(kv);
  }
  return [...names];
}
