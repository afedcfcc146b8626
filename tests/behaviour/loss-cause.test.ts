/** Tests of the cause of a lost session: in the error of the lock, and in one warning. */
import { EtcdAuthError, EtcdRefusedError, EtcdUnavailableError, type Lock } from 'etcd-locker';
import { expect, test } from 'vitest';
import { calls, type FaultyMemory, openFaultyMemory, refused } from '../support/fixtures/faults.ts';
import { follow } from '../support/fixtures/holding.ts';

const silent = (host: string, reason: string) => new EtcdUnavailableError(2_500, [{ host, reason }]);

function createLogged(memory: FaultyMemory) {
  const warnings: string[] = [];
  const ignore = (): void => undefined;
  const warn = (message: string): void => void warnings.push(message);
  return { warnings, locker: memory.createLocker({ logger: { debug: ignore, info: ignore, warn, error: warn } }) };
}

const causeOf = ({ signal }: Lock): unknown => (signal.reason as Error).cause;

test('a loss names what the renewals failed with at each host', async () => {
  await using memory = await openFaultyMemory();
  const { locker, warnings } = createLogged(memory);
  const locks = [await locker.lock('a'), await locker.lock('b')];
  let tries = 0;
  memory.store.every(calls.renew, () =>
    Promise.reject(tries++ % 2 === 0 ? silent('10.0.0.1:2379', 'connection refused') : silent('10.0.0.2:2379', 'certificate has expired')),
  );

  await memory.clock.advance(14_000);

  for (const lock of locks) {
    expect(lock.held).toBe(false);
    expect(causeOf(lock)).toMatchObject({
      code: 'ETCD_UNAVAILABLE',
      hosts: [
        { host: '10.0.0.1:2379', reason: 'connection refused' },
        { host: '10.0.0.2:2379', reason: 'certificate has expired' },
      ],
    });
  }
  expect(warnings).toEqual([expect.stringMatching(/lost lease \d+: .*10\.0\.0\.1:2379 \(connection refused\).*certificate has expired/)]);
});

test.each([
  ['a wrong password', new EtcdAuthError('locks/', 'authentication failed, invalid user ID or password')],
  ['a corrupt alarm', new EtcdRefusedError('etcdserver: corrupt cluster', { isFinal: true })],
])('a holder keeps its lock until the deadline after %s, and then loses it with that cause', async (_, error) => {
  await using memory = await openFaultyMemory();
  const { locker, warnings } = createLogged(memory);
  const lock = await locker.lock('a');
  memory.store.every(calls.renew, refused(error));

  await memory.clock.advance(13_400);
  expect(lock.held).toBe(true);
  expect(memory.store.count(calls.renew)).toBeLessThan(30);
  await memory.clock.advance(200);

  expect(lock.held).toBe(false);
  expect(causeOf(lock)).toBe(error);
  expect(warnings).toEqual([expect.stringContaining(error.message)]);
});

test('a lock stays held when a refusal of its renewals ends before the deadline', async () => {
  await using memory = await openFaultyMemory();
  const locker = memory.createLocker();
  const lock = await locker.lock('a');
  const stopFault = memory.store.every(calls.renew, refused(new EtcdAuthError('locks/', 'permission denied')));

  await memory.clock.advance(12_000);
  stopFault();
  await memory.clock.advance(60_000);

  expect(lock.held).toBe(true);
  const other = follow(locker.lock('b'));
  await memory.clock.advance(1);
  expect(other.value?.held).toBe(true);
});

test('a loss after a freeze says that no renewal was answered', async () => {
  await using memory = await openFaultyMemory();
  const lock = await memory.createLocker().lock('a');

  memory.clock.freeze(20_000);

  expect(lock.held).toBe(false);
  expect(causeOf(lock)).toMatchObject({ message: expect.stringMatching(/no renewal was answered for 13500 ms/) as string });
});

test('neither an idle session nor close() logs a loss', async () => {
  await using memory = await openFaultyMemory();
  const { locker, warnings } = createLogged(memory);
  await locker.withLock('a', () => undefined);
  await memory.clock.advance(30_000);
  await locker.lock('a');
  await locker.close();

  expect(warnings).toEqual([]);
});
