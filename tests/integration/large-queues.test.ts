/** Tests of a queue whose values together are larger than one response may be. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resolveLockerOptions } from '../../src/options/options.ts';
import { etcdStore } from '../../src/store/etcd/etcd-store.ts';
import type { Operation, Store } from '../../src/store/store.ts';
import type { EtcdServer } from '../support/etcd/etcd.ts';
import { openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

const count = 1_100;
const value = 'x'.repeat(64 * 1024);

describe('a queue of 72 MB', () => {
  let stage: Stage<EtcdServer>;
  let store: Store;
  const commit = (then: readonly Operation[]) => store.commit({ compare: [], then, otherwise: [] });
  beforeAll(async () => {
    stage = await openStage();
    store = etcdStore(resolveLockerOptions({ hosts: stage.server.endpoint, prefix: stage.prefix }));
    const keys = Array.from({ length: count }, (_, index) => `${stage.prefix}large/${String(index)}`);
    for (let at = 0; at < count; at += 16) await commit(keys.slice(at, at + 16).map((key) => ({ put: { key, value, leaseId: '0' } })));
  }, 60_000);
  afterAll(async () => {
    await commit([{ delete: { key: `${stage.prefix}large/`, rangeEnd: `${stage.prefix}large0` } }]);
    await store.close();
    await stage[Symbol.asyncDispose]();
  });

  test('inspect(), watch() and list() report it, and list() the names before and after it', async () => {
    const locker = stage.createLocker();
    const locks = await locker.lockAll(['a', 'z']);

    const inspected = await timed(locker.inspect('large'));
    const states = locker.watch('large');
    const first = await timed(states.next());
    await states.return();
    const names: [string, number][] = [];
    for await (const { name, waiting } of locker.list()) names.push([name, waiting]);

    expect(inspected.value).toMatchObject({ waiting: count - 1 });
    expect(first.value?.value).toMatchObject({ waiting: count - 1 });
    expect(names).toEqual([
      ['a', 0],
      ['large', count - 1],
      ['z', 0],
    ]);
    await locks.release();
  }, 60_000);
});
