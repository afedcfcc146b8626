/**
 * Reads ranges page by page, so that no response grows with the length of a queue.
 *
 * A value has up to 64 KiB, those of other programs have more, and gRPC clients refuse responses above a limit. All pages of a queue are
 * of one revision. If etcd has compacted that revision meanwhile, or was restored to an earlier one, the reading begins again.
 */
import { EtcdRefusedError } from '../errors.ts';
import { isExact, type QueueRange } from '../keys.ts';
import type { KeyValue, Store } from '../store/store.ts';

/** Entries per page: at most 13 MiB of our own. */
export const pageSize = 200;
const maxReadings = 5;

export interface Page {
  readonly revision: bigint;
  readonly kvs: readonly KeyValue[];
  /** Whether the range has no more keys. */
  readonly isLast: boolean;
}

/** Reads the first keys of the range, in the order of the keys. Reads fewer if their values are too large for one response. */
export async function readPage(store: Store, range: QueueRange, revision?: bigint, size = pageSize): Promise<Page> {
  for (let limit = size; ; limit = Math.ceil(limit / 8)) {
    try {
      const { revision: now, ranges } = await store.commit({
        compare: [],
        then: [{ range: { ...range, limit, revision } }],
        otherwise: [],
      });
      const kvs = ranges[0] ?? [];
      return { revision: revision ?? now, kvs, isLast: kvs.length < limit };
    } catch (error) {
      if (limit === 1 || !isRefusal(error, /larger than max/)) throw error;
    }
  }
}

/** Reads the whole range as of one revision, in the order of the keys. */
export async function readWhole(store: Store, range: QueueRange): Promise<Omit<Page, 'isLast'>> {
  for (let readings = 1; ; readings += 1) {
    try {
      return await readAllPages(store, range);
    } catch (error) {
      if (readings === maxReadings || !isRefusal(error, /required revision/)) throw error;
    }
  }
}

async function readAllPages(store: Store, range: QueueRange): Promise<Omit<Page, 'isLast'>> {
  const all: KeyValue[] = [];
  let revision: bigint | undefined;
  for (let [key, size] = [range.key, pageSize]; ;) {
    const page = await readPage(store, { ...range, key }, revision, size);
    ({ revision } = page);
    if (page.isLast) return { revision, kvs: all.concat(page.kvs) };
    // A key that is not UTF-8 cannot be sent, so the next page begins after the last one that is.
    const last = page.kvs.findLastIndex((kv) => isExact(kv.key));
    all.push(...page.kvs.slice(0, last + 1));
    size = last < 0 ? 2 * size : pageSize;
    if (last >= 0) key = `${page.kvs[last]?.key ?? ''}\0`;
  }
}

const isRefusal = (error: unknown, reason: RegExp): boolean => error instanceof EtcdRefusedError && reason.test(error.message);
