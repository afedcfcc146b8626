/**
 * Every name with an entry, page by page in the order of the keys.
 *
 * A page ends where it must, in the middle of a queue too; that name is then read again as a whole. So each state is what etcd had at
 * its revision, and a name that is there from the first page to the last is told once.
 */
import { keyAfter, nameOf, namesRange, queueRange } from '../keys.ts';
import type { Context } from '../context.ts';
import type { KeyValue } from '../store/store.ts';
import { describe, inspectName, type LockDetails, type LockState } from './state.ts';

/** Values may have 64 KiB each, and an answer of etcd must not become too large to be taken in. */
const pageSize = 200;

/** @param check throws where nothing may be asked for any more */
export async function* listStates(context: Context, startsWith: string, check: () => void): AsyncGenerator<LockState, void, undefined> {
  const { prefix, store, clock } = context;
  let range = namesRange(prefix, startsWith);
  for (;;) {
    check();
    const letGo = clock.hold();
    let page: LockDetails[];
    let isLast: boolean;
    try {
      const { revision, ranges } = await store.commit({ compare: [], then: [{ range: { ...range, limit: pageSize } }], otherwise: [] });
      const kvs = ranges[0] ?? [];
      isLast = kvs.length < pageSize;
      page = byName(prefix, kvs).map(([name, entries]) => describe(name, queueRange(prefix, name), entries, revision));
      const cut = isLast ? undefined : page.pop();
      // The rest of its queue is beyond the page.
      if (cut !== undefined) page.push(await inspectName(context, cut.name));
      const lastKey = cut === undefined ? kvs.at(-1)?.key : undefined;
      range = { ...range, key: cut === undefined ? keyAfter(prefix, lastKey ?? '') : queueRange(prefix, cut.name).rangeEnd };
    } finally {
      letGo();
    }
    for (const { name, held, holders, waiting, revision } of page) if (held) yield { name, held, holders, waiting, revision };
    if (isLast) return;
  }
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
