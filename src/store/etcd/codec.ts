/** Between the port's words and etcd's: keys and values are bytes there, revisions decimal strings. */
import type { ICompare, IKeyValue, IRangeRequest, IRequestOp, ITxnRequest, ITxnResponse, IWatchCreateRequest } from 'etcd3';
import type { Committed, Compare, KeyValue, Operation, Range, Transaction, WatchRequest } from '../store.ts';

const toEnd = (rangeEnd: string | undefined): { range_end?: Buffer } =>
  rangeEnd === undefined ? {} : { range_end: Buffer.from(rangeEnd) };

const toCompare = ({ key, rangeEnd, target, op, revision }: Compare): ICompare => ({
  key: Buffer.from(key),
  ...toEnd(rangeEnd),
  result: op === '=' ? 'Equal' : 'Less',
  ...(target === 'create' ? { target: 'Create', create_revision: String(revision) } : { target: 'Mod', mod_revision: String(revision) }),
});

export const toRange = ({ key, rangeEnd, order, limit, maxCreateRevision, keysOnly }: Range): IRangeRequest => ({
  key: Buffer.from(key),
  ...toEnd(rangeEnd),
  ...(order === undefined ? {} : { sort_target: 'Create', sort_order: order === 'oldest' ? 'Ascend' : 'Descend' }),
  ...(limit === undefined ? {} : { limit }),
  ...(maxCreateRevision === undefined ? {} : { max_create_revision: String(maxCreateRevision) }),
  ...(keysOnly === true ? { keys_only: true } : {}),
});

function toOperation(operation: Operation): IRequestOp {
  if ('range' in operation) return { request_range: toRange(operation.range) };
  if ('delete' in operation) return { request_delete_range: { key: Buffer.from(operation.delete.key) } };
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

export const toCommitted = ({ header, succeeded, responses }: ITxnResponse): Committed => ({
  succeeded,
  revision: BigInt(header.revision),
  // Which kind of response it is stands in a field that etcd3's types leave out; the others are null.
  ranges: responses.flatMap(({ response_range }: { response_range?: { kvs: IKeyValue[] } | null }) =>
    response_range ? [response_range.kvs.map(toKeyValue)] : [],
  ),
});

/** Without a start revision, ever: one that may lie in the past makes etcd deliver in steps of 100 ms. */
export const toWatch = ({ key, rangeEnd, deletesOnly }: WatchRequest, id: number): IWatchCreateRequest => ({
  key: Buffer.from(key),
  ...toEnd(rangeEnd),
  watch_id: String(id),
  ...(deletesOnly === true ? { filters: ['Noput'] } : {}),
});
