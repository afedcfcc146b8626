/** Tests users, passwords, permissions, and tokens that expire. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { createLocker, type Locker, type LockerOptions } from 'etcd-locker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startEtcd, startTcpProxy, type EtcdServer } from '../support/etcd/etcd.ts';
import { enableAuth, expectEmpty, root as asRoot, simpleTokens } from '../support/etcd/auth.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, timed } from '../support/fixtures/etcd-stage.ts';
import { allUses, expectAllDenied } from '../support/fixtures/security-stage.ts';

const password = 'sesame-9431';

describe.skipIf(!(await canControlServers()))('an etcd with auth enabled', () => {
  let server: EtcdServer;
  let root: Etcd3;
  const auth = { username: 'locker', password };
  const create = (options?: LockerOptions): Locker => createLocker({ hosts: server.endpoint, auth, prefix: 'mine/', ...options });
  beforeAll(async () => {
    // A token expires if it is not used for one or two seconds.
    server = await startEtcd({ args: simpleTokens(1) });
    await enableAuth({ hosts: server.endpoint }, [
      { ...auth, rights: ['mine/'] },
      { username: 'nobody', password },
    ]);
    root = new Etcd3({ hosts: server.endpoint, auth: asRoot });
  });
  afterAll(async () => {
    await expectEmpty(root);
    root.close();
    await server.stop();
  });

  test('allows each use to a role with permission for the prefix alone', async () => {
    await using locker = create({ value: 'me' });
    await using others = create();
    const states = others.watch('x');
    expect((await states.next()).value).toMatchObject({ held: false });

    const lock = await locker.lock('x');

    expect((await states.next()).value).toMatchObject({ holders: [{ value: 'me' }] });
    expect(await others.tryLock('x')).toBeNull();
    await lock.setValue('me again');
    expect((await states.next()).value).toMatchObject({ holders: [{ value: 'me again' }] });
    const waiting = [follow(locker.lock('x')), follow(others.lock('x'))];
    await eventually(async () => {
      expect(await others.inspect('x')).toMatchObject({ waiting: 1 });
    });
    await lock.release();
    await Promise.all(waiting.map(async ({ promise }) => (await promise).release()));
    expect((await others.tryLock('x'))?.held).toBe(true);
    await states.return();
  });

  test('lets holders and waiters continue when their tokens expire', { timeout: 30_000 }, async () => {
    const ttlMs = 6_000;
    await using holders = create({ ttlMs });
    await using waiters = create({ ttlMs });
    const lock = await holders.lock('x');
    const waiting = follow(waiters.lock('x'));

    // The token expires between two renewals. Without renewals, the lease would expire too.
    await sleep(1.5 * ttlMs);

    expect([lock.held, lock.signal.aborted, waiting.isSettled]).toEqual([true, false, false]);
    const { ms } = await timed(lock.release().then(() => waiting.promise));
    expect(waiting.value?.held).toBe(true);
    expect(ms).toBeLessThan(1_000);
  });

  test('lets a waiter watch again when its stream breaks after its token has expired', { timeout: 30_000 }, async () => {
    await using proxy = await startTcpProxy(server.endpoint);
    await using holders = create();
    // With this TTL, no renewal and no look falls into the test.
    await using waiters = create({ hosts: proxy.endpoint, ttlMs: 60_000 });
    const lock = await holders.lock('x');
    const waiting = follow(waiters.lock('x'));
    await sleep(3_000);

    await proxy.cut();
    await proxy.restore();
    await sleep(1_000);
    const { ms } = await timed(lock.release().then(() => waiting.promise));

    expect(waiting.value?.held).toBe(true);
    expect(ms).toBeLessThan(3_000);
    await holders.close();
    await waiters.close();
  });

  test.each([
    ['the role lacks the prefix', auth, 'theirs/'],
    ['the user has no role', { username: 'nobody', password }, 'mine/'],
    ['the password is wrong', { username: 'locker', password: 'wrong-7210' }, 'mine/'],
    ['there is no such user', { username: 'stranger', password }, 'mine/'],
    ['there are no credentials', undefined, 'mine/'],
  ])('rejects every use at once, with an EtcdAuthError that names the prefix, when %s', async (_why, user, prefix) => {
    await expectAllDenied({ hosts: server.endpoint, auth: user }, Object.keys(allUses), prefix);
  });

  test('ends an entry with its lease when the role has lost the permission to delete it', { timeout: 30_000 }, async () => {
    await using locker = create({ ttlMs: 2_000 });
    const lock = await locker.lock('x');
    await root.user('locker').removeRole('locker');

    try {
      await expect(lock.release()).rejects.toMatchObject({ code: 'ETCD_AUTH', prefix: 'mine/' });
      // The session does not renew its lease for an abandoned entry.
      await eventually(async () => {
        expect(await root.getAll().prefix('mine/x/').keys()).toEqual([]);
      });
    } finally {
      await root.user('locker').addRole('locker');
    }
    expect((await locker.lock('x')).held).toBe(true);
  });
});
