/** Tests of states that are read by pages: all pages of a queue are of one revision. */
import { EtcdRefusedError, type LockState } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { calls, type Call, type FaultyMemory, openFaultyMemory } from '../support/fixtures/faults.ts';

const count = 450;
const keyOf = (index: number): string => `locks/a/${String(index).padStart(4, '0')}`;

/** Puts entries without a lease. `run` deletes them at its end. */
async function withQueue(run: (memory: FaultyMemory) => Promise<void>): Promise<void> {
  await using memory = await openFaultyMemory();
  for (let index = 0; index < count; index += 1) put(memory, keyOf(index));
  try {
    await run(memory);
  } finally {
    memory.etcd.commit({ compare: [], then: [{ delete: { key: 'locks/a/', rangeEnd: 'locks/a0' } }], otherwise: [] });
  }
}

const put = ({ etcd }: FaultyMemory, key: string): void => {
  etcd.commit({ compare: [], then: [{ put: { key, value: 'x', leaseId: '0' } }], otherwise: [] });
};

const remove = ({ etcd }: FaultyMemory, key: string): void => {
  etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
};

const limitsOf = (call: Call): (number | undefined)[] =>
  call.method === 'commit' ? call.transaction.then.flatMap((one) => ('range' in one ? [one.range.limit] : [])) : [];

/** Runs `change` before the second page is read. */
const beforeSecondPage = (memory: FaultyMemory, change: () => void): void => {
  memory.store.next(
    calls.read,
    (send) => send(),
    (send) => {
      change();
      return send();
    },
  );
};

describe('a queue of several pages', () => {
  test('inspect() and the first state of watch() are of the revision of their first page', async () => {
    await withQueue(async (memory) => {
      const locker = memory.createLocker();
      const { revision } = memory.etcd;
      beforeSecondPage(memory, () => {
        remove(memory, keyOf(0));
        put(memory, keyOf(9_998));
      });

      const state = await locker.inspect('a');

      expect(state).toMatchObject({ revision, waiting: count - 1, holders: [{ key: keyOf(0) }] });
      expect(memory.store.calls.flatMap(limitsOf)).toEqual([200, 200, 200]);
      beforeSecondPage(memory, () => {
        remove(memory, keyOf(1));
      });
      const states = locker.watch('a');
      // The change in between is an event after the reading, so it is applied to the first state.
      expect((await states.next()).value).toMatchObject({ waiting: count - 2, holders: [{ key: keyOf(2) }] });
      await states.return();
    });
  });

  test('inspect() begins again when etcd has compacted the revision of the first page', async () => {
    await withQueue(async (memory) => {
      memory.store.next(
        calls.read,
        (send) => send(),
        () => Promise.reject(new EtcdRefusedError('etcdserver: mvcc: required revision has been compacted')),
      );

      expect((await memory.createLocker().inspect('a')).waiting).toBe(count - 1);

      expect(memory.store.count(calls.read)).toBe(5);
    });
  });

  test('inspect() and list() read smaller pages when a response would be too large', async () => {
    await withQueue(async (memory) => {
      const locker = memory.createLocker();
      await locker.lock('b');
      memory.store.every(
        (call) => limitsOf(call).some((limit = Infinity) => limit > 30),
        () => Promise.reject(new EtcdRefusedError('Received message larger than max (70000000 vs 67108864)')),
      );

      expect((await locker.inspect('a')).waiting).toBe(count - 1);
      const states: LockState[] = [];
      for await (const state of locker.list()) states.push(state);

      expect(states.map(({ name, waiting }) => [name, waiting])).toEqual([
        ['a', count - 1],
        ['b', 0],
      ]);
    });
  });

  test('inspect() finds each key that is not UTF-8', async () => {
    await using memory = await openFaultyMemory();
    // The text of such keys has U+FFFD, and they all sort after the exact ones.
    for (let index = 0; index < 199; index += 1) put(memory, keyOf(index));
    for (let index = 0; index < 300; index += 1) put(memory, `locks/a/\uFFFD${String(index)}`);

    const { waiting } = await memory.createLocker().inspect('a');

    expect(waiting).toBe(498);
    memory.etcd.commit({ compare: [], then: [{ delete: { key: 'locks/a/', rangeEnd: 'locks/a0' } }], otherwise: [] });
  });
});
