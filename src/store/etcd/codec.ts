/** Between the port's words and etcd's: keys and values are bytes there, revisions decimal strings. */
import type {
  ICompare,
  IDeleteRangeRequest,
  IKeyValue,
  IRangeRequest,
  IRequestOp,
  ITxnRequest,
  ITxnResponse,
  IWatchCreateRequest,
} from 'etcd3';
import type { Committed, Compare, KeyValue, Operation, Range, Transaction, WatchRequest } from '../store.ts';

// These run for every commit, so each makes one object and fills it.
function toCompare({ key, rangeEnd, target, op, revision }: Compare): ICompare {
  const compare: ICompare = { key: Buffer.from(key), result: op === '=' ? 'Equal' : 'Less' };
  if (rangeEnd !== undefined) compare.range_end = Buffer.from(rangeEnd);
  if (target === 'create') {
    compare.target = 'Create';
    compare.create_revision = toInt64(revision);
  } else {
    compare.target = 'Mod';
    compare.mod_revision = toInt64(revision);
  }
  return compare;
}

function toRange({ key, rangeEnd, order, limit, maxCreateRevision, keysOnly }: Range): IRangeRequest {
  const range: IRangeRequest = { key: Buffer.from(key) };
  if (rangeEnd !== undefined) range.range_end = Buffer.from(rangeEnd);
  if (order !== undefined) {
    range.sort_target = 'Create';
    range.sort_order = order === 'oldest' ? 'Ascend' : 'Descend';
  }
  if (limit !== undefined) range.limit = limit;
  if (maxCreateRevision !== undefined) range.max_create_revision = toInt64(maxCreateRevision);
  if (keysOnly === true) range.keys_only = true;
  return range;
}

// Quicker as a number, as long as that is exact.
const toInt64 = (revision: bigint): string | number => (revision <= Number.MAX_SAFE_INTEGER ? Number(revision) : String(revision));

function toDelete({ key, rangeEnd }: { key: string; rangeEnd?: string | undefined }): IDeleteRangeRequest {
  return rangeEnd === undefined ? { key: Buffer.from(key) } : { key: Buffer.from(key), range_end: Buffer.from(rangeEnd) };
}

function toOperation(operation: Operation): IRequestOp {
  if ('range' in operation) return { request_range: toRange(operation.range) };
  if ('delete' in operation) return { request_delete_range: toDelete(operation.delete) };
  const { key, value, leaseId } = operation.put;
  return { request_put: { key: Buffer.from(key), value: Buffer.from(value), lease: leaseId } };
}

export const toTransaction = ({ compare, then, otherwise }: Transaction): ITxnRequest => ({
  compare: compare.map(toCompare),
  success: then.map(toOperation),
  failure: otherwise.map(toOperation),
});

export const toKeyValue = ({ key, value, create_revision, mod_revision, lease }: IKeyValue): KeyValue => ({
  key: key.toString(),
  value: value.toString(),
  createRevision: BigInt(create_revision),
  modRevision: BigInt(mod_revision),
  leaseId: lease,
});

// Which kind of response it is stands in a field that etcd3's types leave out; the others are empty.
const rangeOf = ({ response_range: range }: { response_range?: { kvs: IKeyValue[] } | null }) => range ?? undefined;

export function toCommitted({ header, succeeded, responses }: ITxnResponse): Committed {
  const ranges: KeyValue[][] = [];
  for (const response of responses) {
    const range = rangeOf(response);
    if (range !== undefined) ranges.push(range.kvs.map(toKeyValue));
  }
  return { succeeded, revision: BigInt(header.revision), ranges };
}

/** Without a start revision, ever: one that may lie in the past makes etcd deliver in steps of 100 ms. */
export const toWatch = ({ key, rangeEnd, deletesOnly }: WatchRequest, id: number): IWatchCreateRequest => ({
  key: Buffer.from(key),
  ...(rangeEnd === undefined ? {} : { range_end: Buffer.from(rangeEnd) }),
  watch_id: String(id),
  ...(deletesOnly === true ? { filters: ['Noput'] } : {}),
});
