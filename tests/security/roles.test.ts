/** Tests that the roles of docs/security.md have all permissions that a locker needs, and no other. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, type Locker, type LockerOptions } from 'etcd-locker';
import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { errorOf, follow } from '../support/fixtures/holding.ts';
import { eventually } from '../support/fixtures/etcd-stage.ts';
import { canRunRecipe, nobody, openRecipe, passwords } from '../support/fixtures/security-recipe.ts';
import { allUses, expectAllDenied, outcomeOf, readingUses } from '../support/fixtures/security-stage.ts';

const methods = Object.keys(allUses);

describe.skipIf(!canRunRecipe)('roles', () => {
  let etcd: Awaited<ReturnType<typeof openRecipe>>;
  const as = (username: string, password: string) => ({ hosts: etcd.server.endpoint, auth: { username, password } });
  const orders = (): LockerOptions => as('orders', passwords.orders);
  const dashboard = () => as('dashboard', passwords.dashboard);
  beforeAll(async () => {
    etcd = await openRecipe((hosts) => ({ hosts, auth: { username: 'root', password: passwords.root } }));
  });
  afterAll(() => etcd[Symbol.asyncDispose]());

  describe('a role that may read and write under the prefix only', () => {
    test.each(methods)('is enough for %s', async (method) => {
      const { error } = await outcomeOf(orders(), method);

      expect(error).toBeUndefined();
    });

    test('is refused every use under another prefix, with an EtcdAuthError that names it', async () => {
      await expectAllDenied(orders(), methods, 'locks-of-others/');
    });

    test('is enough to hold, wait for and list locks of all kinds', async () => {
      await using locker = createLocker(orders());
      await using others = createLocker(orders());
      const shared = await Promise.all([locker, others].map((one) => one.lock('shared', { mode: 'shared' })));
      const slots = await Promise.all([locker, others].map((one) => one.lock('slots', { slots: 2 })));
      const all = await locker.lockAll(['a', 'b', 'c']);

      expect([...shared, ...slots, all].map(({ held }) => held)).toEqual([true, true, true, true, true]);
      expect(await others.tryLock('shared')).toBeNull();
      expect(await others.tryLock('slots', { slots: 2 })).toBeNull();
      expect(await others.tryLockAll(['c', 'd'])).toBeNull();
      const waiting = follow(others.lock('b'));
      await eventually(async () => {
        expect(await locker.inspect('b')).toMatchObject({ waiting: 1 });
      });
      expect((await namesOf(others)).sort()).toEqual(['a', 'b', 'c', 'shared', 'slots']);
      await all.release();
      expect((await waiting.promise).held).toBe(true);
    });

    test('is enough for watch(), setValue() and maxHoldMs', async () => {
      await using locker = createLocker(orders());
      await using readers = createLocker(dashboard());
      const states = readers.watch('x')[Symbol.asyncIterator]();
      expect((await states.next()).value).toMatchObject({ held: false });

      const lock = await locker.lock('x', { value: 'first', maxHoldMs: 1_500 });
      expect((await states.next()).value).toMatchObject({ holders: [{ value: 'first' }] });
      await lock.setValue('second');
      expect((await states.next()).value).toMatchObject({ holders: [{ value: 'second' }] });

      expect((await states.next()).value).toMatchObject({ held: false });
      expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'max-hold' });
      await states.return();
    });

    test('is enough for a lock that outlives its TTL, and for one with renew: false', async () => {
      await using locker = createLocker({ ...orders(), ttlMs: 2_000 });
      await using others = createLocker(orders());
      const [renewed, unrenewed] = await Promise.all([locker.lock('renewed'), locker.lock('unrenewed', { renew: false })]);
      const next = others.lock('unrenewed');

      await sleep(2_500);

      expect([renewed.held, unrenewed.held]).toEqual([true, false]);
      expect((await next).held).toBe(true);
    });
  });

  describe('a role that may only read', () => {
    test.each(readingUses)('is enough for %s', async (method) => {
      const { error } = await outcomeOf(dashboard(), method);

      expect(error).toBeUndefined();
    });

    test('is refused every other use, with an EtcdAuthError that names the prefix', async () => {
      await expectAllDenied(
        dashboard(),
        methods.filter((method) => !readingUses.includes(method)),
        'locks/',
      );
    });

    test('sees the holder, and can neither delete its entry nor revoke its lease', async () => {
      await using locker = createLocker(orders());
      await using readers = createLocker(dashboard());
      const lock = await locker.lock('x', { value: 'me' });
      const client = new Etcd3(dashboard());

      const leaseRemainingMs = expect.any(Number) as number;
      expect(await readers.inspect('x')).toMatchObject({ holders: [{ value: 'me', leaseId: lock.leaseId, leaseRemainingMs }] });
      expect(await errorOf(readers.breakLock('x'))).toMatchObject({ code: 'ETCD_AUTH', prefix: 'locks/' });
      await expect(client.delete().key(lock.key).exec()).rejects.toThrow('permission denied');
      await expect(client.put(lock.key).value('').exec()).rejects.toThrow('permission denied');
      await expect(client.leaseClient.leaseRevoke({ ID: lock.leaseId })).rejects.toThrow('permission denied');
      client.close();
      expect((await readers.inspect('x')).holders).toHaveLength(1);
    });
  });

  test('a user without a role is refused every use, with an EtcdAuthError that names the prefix', async () => {
    await expectAllDenied(as(nobody.username, nobody.password), methods, 'locks/');
  });

  test('a user that may write under the prefix can delete an entry, and its holder loses the lock', async () => {
    await using locker = createLocker({ ...orders(), ttlMs: 2_000 });
    const lock = await locker.lock('x');
    const client = new Etcd3(as('orders', passwords.orders));

    await client.delete().key(lock.key).exec();
    client.close();

    await eventually(() => {
      expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
    });
  });

  test('a locker whose prefix lies inside another prefix blocks a name of that one', async () => {
    await using outer = createLocker(orders());
    const inner = createLocker({ ...orders(), prefix: 'locks/orders/' });
    await (await inner.lock('x')).release();

    // The gate of its session is the only key of the inner locker.
    expect((await outer.inspect('orders')).holders).toMatchObject([{ foreign: true }]);
    expect(await outer.tryLock('orders')).toBeNull();
    await inner.close();
    expect((await outer.tryLock('orders'))?.held).toBe(true);
  });
});

async function namesOf(locker: Locker): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of locker.list()) names.push(name);
  return names;
}
