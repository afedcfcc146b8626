/** Tests of the memory etcd's snapshots, which have the effects of `etcdutl snapshot restore` under running processes. */
import { ManualClock } from 'etcd-locker/testing';
import { expect, test } from 'vitest';
import { MemoryEtcd } from '../../src/store/memory/memory-etcd.ts';
import { MemoryEtcdStore } from '../../src/store/memory/memory-store.ts';

const put = (etcd: MemoryEtcd, key: string, leaseId = '0') =>
  etcd.commit({ compare: [], then: [{ put: { key, value: '', leaseId } }], otherwise: [] }).revision;
const keysOf = (etcd: MemoryEtcd) =>
  etcd
    .commit({ compare: [], then: [{ range: { key: ' ', rangeEnd: '~' } }], otherwise: [] })
    .ranges[0]?.map(({ key, modRevision }) => `${key} ${String(modRevision)}`);

test('restore() brings back keys, leases and the revision, and drops what came later', async () => {
  const clock = new ManualClock();
  const etcd = new MemoryEtcd(clock);
  etcd.grant('1', 10);
  put(etcd, 'a', '1');
  const snapshot = etcd.snapshot();
  await clock.advance(8_000);
  etcd.revoke('1');
  etcd.grant('2', 10);
  put(etcd, 'b', '2');

  etcd.restore(snapshot);

  expect({ keys: keysOf(etcd), leases: etcd.leaseIds, revision: etcd.revision }).toEqual({ keys: ['a 2'], leases: ['1'], revision: 2n });
  await clock.advance(9_999);
  expect(etcd.leaseIds).toEqual(['1']);
  await clock.advance(1);
  expect({ keys: keysOf(etcd), timers: clock.timerCount }).toEqual({ keys: [], timers: 0 });
});

test('restore() with bumpRevision leaves the revisions of the keys as they were', () => {
  const etcd = new MemoryEtcd(new ManualClock());
  put(etcd, 'a');
  const snapshot = etcd.snapshot();

  etcd.restore(snapshot, { bumpRevision: 1_000n });

  expect({ keys: keysOf(etcd), revision: etcd.revision, next: put(etcd, 'b') }).toEqual({ keys: ['a 2'], revision: 1_002n, next: 1_003n });
});

test('restore() breaks watches, which then begin again at the restored revision', async () => {
  const clock = new ManualClock();
  const etcd = new MemoryEtcd(clock);
  const seen: string[] = [];
  new MemoryEtcdStore(etcd, clock).watch(
    { key: 'a' },
    {
      created: (revision) => seen.push(`created ${String(revision)}`),
      events: (events) => seen.push(...events.map(({ type, kv }) => `${type} ${String(kv.modRevision)}`)),
    },
  );
  const snapshot = etcd.snapshot();
  put(etcd, 'a');
  await clock.settle();

  etcd.restore(snapshot);
  put(etcd, 'a');
  await clock.settle();

  expect(seen).toEqual(['created 1', 'put 2', 'created 1', 'put 2']);
});
