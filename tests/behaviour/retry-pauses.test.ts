/** Tests of retries that another program provokes again and again: none of them goes on without a pause. */
import { webLocks } from 'etcd-locker/web-locks';
import { expect, test } from 'vitest';
import { LeaseNotFoundError } from '../../src/errors.ts';
import { calls, type Call, type FaultyMemory, openFaultyMemory, refused } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

/** Puts the gate before each creation, so that none of them succeeds. The 200th is the last, because a loop without a pause has no end. */
function keepGateMoving(memory: FaultyMemory): () => number {
  let moves = 0;
  memory.store.every(calls.creation, (send, call) => {
    const gate = call.method === 'commit' ? call.transaction.compare.find(({ key }) => key.includes('@sessions/'))?.key : undefined;
    const leaseId = BigInt(`0x${gate?.split('/').at(-1) ?? '0'}`).toString();
    if (++moves > 200) return new Promise(() => undefined);
    memory.etcd.commit({ compare: [], then: [{ put: { key: gate ?? '', value: 'outsider', leaseId } }], otherwise: [] });
    return send();
  });
  return () => moves;
}

test.each(['lock', 'tryLock'] as const)(
  '%s() pauses between its tries when another program moves the gate all the time',
  async (method) => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    await locker.withLock('warm', () => undefined);
    const countMoves = keepGateMoving(memory);
    const controller = new AbortController();
    const failed = errorOf(locker[method]('a', { signal: controller.signal }));

    await memory.clock.advance(4_000);

    expect(countMoves()).toBeGreaterThan(4);
    expect(countMoves()).toBeLessThan(30);
    controller.abort(new Error('enough'));
    expect(await failed).toMatchObject({ message: 'enough' });
  },
);

test.each(['lock', 'tryLock'] as const)('%s() pauses between its leases when another program revokes each of them', async (method) => {
  await using memory = await openFaultyMemory();
  let creations = 0;
  const stopFault = memory.store.every(calls.creation, (send) => {
    if (++creations > 200) return new Promise(() => undefined);
    for (const leaseId of memory.etcd.leaseIds) memory.etcd.revoke(leaseId);
    return send();
  });
  const locking = follow(memory.createLocker()[method]('a'));

  await memory.clock.advance(3_000);
  expect(creations).toBeGreaterThan(3);
  expect(creations).toBeLessThan(20);
  stopFault();
  await memory.clock.advance(1_000);

  expect(locking.value?.held).toBe(true);
});

test('lock() pauses between its leases when etcd loses each of them before the gate is created', async () => {
  await using memory = await openFaultyMemory();
  let grants = 0;
  memory.store.every(calls.grant, (send) => (++grants > 200 ? new Promise(() => undefined) : send()));
  const stopFault = memory.store.every(calls.gatePut, refused(new LeaseNotFoundError('requested lease not found')));
  const locking = follow(memory.createLocker().lock('a'));

  await memory.clock.advance(3_000);
  expect(grants).toBeGreaterThan(3);
  expect(grants).toBeLessThan(20);
  stopFault();
  await memory.clock.advance(1_000);

  expect(locking.value?.held).toBe(true);
});

test('setValue() pauses between its tries when another program writes the value all the time', async () => {
  await using memory = await openFaultyMemory();
  const lock = await memory.createLocker().lock('a');
  const put = { key: lock.key, value: 'outsider', leaseId: lock.leaseId };
  let writes = 0;
  const stopFault = memory.store.every(calls.value, (send) => {
    if (++writes > 200) return new Promise(() => undefined);
    memory.etcd.commit({ compare: [], then: [{ put }], otherwise: [] });
    return send();
  });
  const written = follow(lock.setValue('mine'));

  await memory.clock.advance(3_000);
  expect(writes).toBeGreaterThan(3);
  expect(writes).toBeLessThan(20);
  stopFault();
  await memory.clock.advance(1_000);

  expect(written.isSettled).toBe(true);
  expect(lock.value).toBe('mine');
});

test('query() pauses between its reads when etcd is behind the tokens of its own locks', async () => {
  await using memory = await openFaultyMemory();
  const snapshot = memory.etcd.snapshot();
  const locks = webLocks(memory.createLocker());
  let end = (): void => undefined;
  const held = follow(locks.request('a', () => new Promise<void>((resolve) => (end = resolve))));
  await memory.clock.settle();
  memory.etcd.restore(snapshot);
  const isQuery = (call: Call): boolean =>
    call.method === 'commit' && call.transaction.then.some((one) => 'range' in one && one.range.key === 'locks/@sessions/');

  const state = follow(locks.query());
  await memory.clock.advance(100);
  expect(memory.store.count(isQuery)).toBeLessThan(6);
  await memory.clock.advance(20_000);

  expect(state.isSettled).toBe(true);
  end();
  await memory.clock.advance(1);
  expect(held.isSettled).toBe(true);
});
