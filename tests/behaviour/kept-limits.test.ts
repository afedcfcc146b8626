/** Tests that a kept lock costs no call more than its time, and that a refused delete of it leaves no rejection without a handler. */
import { EtcdAuthError } from 'etcd-locker';
import { expect, test } from 'vitest';
import { after, calls, hangs, openFaultyMemory, refused } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

test('tryLock() rejects after requestTimeoutMs if the value of the kept lock cannot be written', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker({ requestTimeoutMs: 1_000, keepMs: 60_000 });
  await (await locker.lock('a', { value: 'first' })).release();
  await memory.clock.settle();
  memory.store.next(calls.value, hangs);

  const trying = follow(locker.tryLock('a', { value: 'second' }));
  await memory.clock.advance(1_000);

  expect(trying.error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
});

test('tryLock() of another kind does not report a kept lock of its own process as busy if etcd is silent', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker({ keepMs: 60_000 });
  await (await locker.lock('a')).release();
  await memory.clock.settle();
  memory.store.every(calls.any, hangs);

  const trying = follow(locker.tryLock('a', { mode: 'shared', timeoutMs: 100 }));
  await memory.clock.advance(100);

  expect(trying.error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
  memory.store.clearFaults();
});

test('a kept lock that etcd refuses to delete is logged, and rejects nothing', async () => {
  await using memory = await openFaultyMemory();
  const lines: string[] = [];
  const log = (message: string): void => void lines.push(message);
  const locker = memory.createLocker({ keepMs: 5_000, logger: { debug: log, info: log, warn: log, error: log } });
  await (await locker.lock('a')).release();
  await memory.clock.settle();
  memory.store.next(calls.deletion, after(memory.clock, 5, refused(new EtcdAuthError('locks/', 'invalid user ID or password'))));

  await memory.clock.advance(5_000);
  await memory.clock.advance(5);

  expect(lines.join('\n')).toMatch(/cannot delete locks\/a\/.*, it ends with its lease: EtcdAuthError/);
});

test('lockAll() that fails keeps none of its names, not even one that was kept before', async () => {
  await using memory = await openFaultyMemory();
  await memory.createLocker().lock('c');
  const locker = memory.createLocker({ keepMs: 60_000 });
  await (await locker.lock('a')).release();
  const all = follow(locker.lockAll(['a', 'b', 'c'], { timeoutMs: 1_000 }));
  await memory.clock.advance(1_000);

  await memory.clock.advance(100);

  expect(all.error).toMatchObject({ code: 'LOCK_TIMEOUT' });
  expect([...memory.entries('a'), ...memory.entries('b')]).toEqual([]);
});
