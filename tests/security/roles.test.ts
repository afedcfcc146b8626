/** With the roles and users of docs/security.md, and no right more. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, type Locker, type LockerOptions } from 'etcd-locker';
import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { follow } from '../support/fixtures/holding.ts';
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

  describe('a role that may read and write under the prefix alone', () => {
    test.each(methods)('is enough for %s', async (method) => {
      const { error } = await outcomeOf(orders(), method);

      expect(error).toBeUndefined();
    });

    test('makes every use reject with EtcdAuthError that names the prefix, under another one', async () => {
      await expectAllDenied(orders(), methods, 'locks-of-others/');
    });

    test('lets all kinds of holders hold, wait and be seen', async () => {
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

    test('lets a watcher see values change, and a lock be given up after maxHoldMs', async () => {
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
      await states.return?.();
    });

    test('lets a lock outlive its TTL, and with renew: false end by itself', async () => {
      await using locker = createLocker({ ...orders(), ttlMs: 2_000 });
      await using others = createLocker(orders());
      const [renewed, unrenewed] = await Promise.all([locker.lock('renewed'), locker.lock('unrenewed', { renew: false })]);
      const next = others.lock('unrenewed');

      await sleep(2_500);

      expect([renewed.held, unrenewed.held]).toEqual([true, false]);
      expect((await next).held).toBe(true);
    });
  });

  describe('a role that may read alone', () => {
    test.each(readingUses)('is enough for %s', async (method) => {
      const { error } = await outcomeOf(dashboard(), method);

      expect(error).toBeUndefined();
    });

    test('makes every other use reject with EtcdAuthError that names the prefix', async () => {
      await expectAllDenied(
        dashboard(),
        methods.filter((method) => !readingUses.includes(method)),
        'locks/',
      );
    });

    test('sees who holds, and can neither delete nor end it', async () => {
      await using locker = createLocker(orders());
      await using readers = createLocker(dashboard());
      const lock = await locker.lock('x', { value: 'me' });
      const client = new Etcd3(dashboard());

      expect(await readers.inspect('x')).toMatchObject({ holders: [{ value: 'me', leaseId: lock.leaseId }] });
      await expect(client.delete().key(lock.key).exec()).rejects.toThrow('permission denied');
      await expect(client.put(lock.key).value('').exec()).rejects.toThrow('permission denied');
      await expect(client.leaseClient.leaseRevoke({ ID: lock.leaseId })).rejects.toThrow('permission denied');
      client.close();
      expect((await readers.inspect('x')).holders).toHaveLength(1);
    });
  });

  test('a user without a role gets EtcdAuthError that names the prefix from every use', async () => {
    await expectAllDenied(as(nobody.username, nobody.password), methods, 'locks/');
  });

  test('whoever may write under the prefix can delete a lock, and its holder is told', async () => {
    await using locker = createLocker({ ...orders(), ttlMs: 2_000 });
    const lock = await locker.lock('x');
    const client = new Etcd3(as('orders', passwords.orders));

    await client.delete().key(lock.key).exec();
    client.close();

    await eventually(() => {
      expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
    });
  });

  test('a prefix within another one stands in the queue of a name there', async () => {
    await using outer = createLocker(orders());
    const inner = createLocker({ ...orders(), prefix: 'locks/orders/' });
    await (await inner.lock('x')).release();

    // Of the inner locker nothing is left but the gate of its session.
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
