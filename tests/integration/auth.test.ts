import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { Etcd3 } from 'etcd3';
import { createLocker, EtcdAuthError, type Locker, type LockerOptions } from 'etcd-locker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startEtcd, startTcpProxy, type EtcdServer } from '../support/etcd.ts';
import { follow } from '../support/fixtures-holding.ts';
import { eventually, timed } from '../support/integration-stage.ts';

const password = 'sesame-9431';

const uses: Record<string, (locker: Locker) => Promise<unknown>> = {
  lock: (locker) => locker.lock('x'),
  tryLock: (locker) => locker.tryLock('x'),
  inspect: (locker) => locker.inspect('x'),
  watch: async (locker) => {
    for await (const state of locker.watch('x')) return state;
    return undefined;
  },
};

describe.skipIf(!(await canControlServers()))('an etcd with auth on', () => {
  let server: EtcdServer;
  let root: Etcd3;
  const auth = { username: 'locker', password };
  const create = (options?: LockerOptions): Locker => createLocker({ hosts: server.endpoint, auth, prefix: 'mine/', ...options });
  beforeAll(async () => {
    // A token that is not used for a second or two is not known any more.
    server = await startEtcd({ args: ['--auth-token', 'simple', '--auth-token-ttl', '1', '--bcrypt-cost', '4'] });
    const client = new Etcd3({ hosts: server.endpoint });
    await client.user('root').create('root-8402');
    await client.user('root').addRole('root');
    await client.role('lock').create();
    await client
      .role('lock')
      .grant({ permission: 'Readwrite', range: { start: Buffer.from('mine/'), end: Buffer.from('mine0') } as never });
    await client.user('locker').create(password);
    await client.user('locker').addRole('lock');
    await client.user('nobody').create(password);
    await client.auth.authEnable();
    client.close();
    root = new Etcd3({ hosts: server.endpoint, auth: { username: 'root', password: 'root-8402' } });
  });
  afterAll(async () => {
    await eventually(async () => {
      expect(await root.getAll().keys()).toEqual([]);
      expect((await root.leaseClient.leaseLeases()).leases).toEqual([]);
    });
    root.close();
    await server.stop();
  });

  test('lets all work for a role that has the prefix alone', async () => {
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
    await states.return?.();
  });

  test('costs neither holder nor waiter anything when their tokens expire', { timeout: 30_000 }, async () => {
    const ttlMs = 6_000;
    await using holders = create({ ttlMs });
    await using waiters = create({ ttlMs });
    const lock = await holders.lock('x');
    const waiting = follow(waiters.lock('x'));

    // Between two renewals the token expires, and without them the lease would.
    await sleep(1.5 * ttlMs);

    expect([lock.held, lock.signal.aborted, waiting.isSettled]).toEqual([true, false, false]);
    const { ms } = await timed(lock.release().then(() => waiting.promise));
    expect(waiting.value?.held).toBe(true);
    expect(ms).toBeLessThan(1_000);
  });

  test('lets a waiter watch again when its stream breaks after its token has expired', { timeout: 30_000 }, async () => {
    await using proxy = await startTcpProxy(server.endpoint);
    await using holders = create();
    // Long enough for neither a renewal nor a look to fall into the test.
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

  describe.each(Object.keys(uses))('%s()', (method) => {
    const failure = async (options: LockerOptions) => {
      await using locker = create(options);
      const { error, ms } = await timed(uses[method]?.(locker) ?? Promise.resolve());
      // Whatever is printed or sent to a log must not tell it.
      const told = inspect(error, { depth: 10, showHidden: true }) + JSON.stringify(error) + String((error as Error).stack);
      for (const secret of [password, 'wrong-7210']) expect(told).not.toContain(secret);
      return { error, ms };
    };

    test('rejects at once with EtcdAuthError that names the prefix when the role lacks it', async () => {
      const { error, ms } = await failure({ prefix: 'theirs/' });

      expect(error).toBeInstanceOf(EtcdAuthError);
      expect(error).toMatchObject({ code: 'ETCD_AUTH', prefix: 'theirs/' });
      expect((error as Error).message).toContain('"theirs/"');
      expect(ms).toBeLessThan(1_500);
    });

    test('rejects at once with EtcdAuthError when the user has no role', async () => {
      const { error, ms } = await failure({ auth: { username: 'nobody', password } });

      expect(error).toMatchObject({ code: 'ETCD_AUTH', prefix: 'mine/' });
      expect(ms).toBeLessThan(1_500);
    });

    test.each([
      ['the password is wrong', { username: 'locker', password: 'wrong-7210' }],
      ['there is no such user', { username: 'stranger', password }],
      ['there are no credentials', undefined],
    ])('rejects at once with EtcdAuthError when %s', async (_why, auth) => {
      const { error, ms } = await failure({ auth });

      expect(error).toMatchObject({ code: 'ETCD_AUTH', prefix: 'mine/' });
      expect(ms).toBeLessThan(1_500);
    });
  });

  test('gives a lock back to its lease when the role loses the right to delete it', { timeout: 30_000 }, async () => {
    await using locker = create({ ttlMs: 2_000 });
    const lock = await locker.lock('x');
    await root.user('locker').removeRole('lock');

    try {
      await expect(lock.release()).rejects.toMatchObject({ code: 'ETCD_AUTH', prefix: 'mine/' });
      // Nothing renews it for an entry that nobody wants.
      await eventually(async () => {
        expect(await root.getAll().prefix('mine/x/').keys()).toEqual([]);
      });
    } finally {
      await root.user('locker').addRole('lock');
    }
    expect((await locker.lock('x')).held).toBe(true);
  });
});

test.skipIf(!(await canControlServers()))('lock() rejects with EtcdAuthError when etcd knows of no auth but a user is given', async () => {
  await using server = await startEtcd();
  await using locker = createLocker({ hosts: server.endpoint, auth: { username: 'locker', password } });

  const { error, ms } = await timed(locker.lock('x'));

  expect(error).toMatchObject({ code: 'ETCD_AUTH' });
  expect(ms).toBeLessThan(1_500);
});
