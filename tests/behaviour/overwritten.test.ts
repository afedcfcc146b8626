/** Tests of entries that another program has put without their lease, as `etcdctl put KEY` does. The end of the lease leaves them. */
import { expect, test } from 'vitest';
import { type FaultyMemory, openFaultyMemory } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

function overwrite({ etcd }: FaultyMemory, key: string, leaseId = '0'): void {
  etcd.commit({ compare: [], then: [{ put: { key, value: 'outsider', leaseId } }], otherwise: [] });
}

const aBeat = 6_000;

test.each(['no lease', 'another lease'])('a lock whose key was put with %s is lost, and its key is deleted', async (lease) => {
  await using memory = await openFaultyMemory();
  const [locker, other] = [memory.createLocker(), memory.createLocker()];
  const lock = await locker.lock('a');
  const next = follow(other.lock('a'));
  await memory.clock.settle();
  overwrite(memory, lock.key, lease === 'no lease' ? '0' : (await other.lock('b')).leaseId);

  await memory.clock.advance(aBeat);

  expect(lock.held).toBe(false);
  expect(lock.signal.reason).toMatchObject({
    reason: 'deleted',
    cause: { message: expect.stringContaining('without its lease') as string },
  });
  expect(next.value?.held).toBe(true);
  expect(memory.entries('a').map(({ key }) => key)).toEqual([next.value?.key]);
});

test('setValue() on a key that was put without its lease reports the loss', async () => {
  await using memory = await openFaultyMemory();
  const lock = await memory.createLocker().lock('a');
  overwrite(memory, lock.key);

  expect(await errorOf(lock.setValue('mine'))).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
  expect(memory.entries('a')).toEqual([]);
});

test('a waiter whose key was put without its lease comes back to the queue', async () => {
  await using memory = await openFaultyMemory();
  const [locker, other] = [memory.createLocker(), memory.createLocker()];
  const held = await locker.lock('a');
  const waiting = follow(other.lock('a'));
  await memory.clock.settle();
  const [, entry] = memory.entries('a');
  overwrite(memory, entry?.key ?? '');

  await memory.clock.advance(aBeat);
  expect(memory.entries('a')).toHaveLength(2);
  expect(memory.entries('a')[1]?.createRevision).not.toBe(entry?.createRevision);
  await held.release();
  await memory.clock.advance(1);

  expect(waiting.value?.held).toBe(true);
});

test('lock() uses another key when another program has put the next one of its session', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  const first = await locker.lock('a');
  await first.release();
  overwrite(memory, first.key);

  const second = follow(locker.lock('a'));
  await memory.clock.advance(1_000);
  expect(memory.entries('a')).toHaveLength(2);
  memory.etcd.commit({ compare: [], then: [{ delete: { key: first.key } }], otherwise: [] });
  await memory.clock.advance(1);

  expect(second.value?.held).toBe(true);
});
