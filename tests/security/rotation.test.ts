/** Tests passwords that change, and authentication that is enabled, under a running locker. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { createLocker, EtcdAuthError, type LockerOptions } from 'etcd-locker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resolveLockerOptions } from '../../src/options/options.ts';
import { etcdStore } from '../../src/store/etcd/etcd-store.ts';
import { administer, enableAuth, jwtTokens, root, simpleTokens, type User } from '../support/etcd/auth.ts';
import { canControlServers, startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';
import { eventually, timed } from '../support/fixtures/etcd-stage.ts';
import { makeAuthority } from '../support/fixtures/certificates.ts';
import { clientOf, listener } from '../support/fixtures/security-stage.ts';
import { startTcpProxy } from '../support/network/tcp-proxy.ts';

const canControl = await canControlServers();
const locker: User = { username: 'locker', password: 'sesame-9431' };
const ttlMs = 3_000;
const noTokens = (): Disposable & { readonly args: readonly string[] } => ({ args: simpleTokens(), [Symbol.dispose]: () => undefined });

describe.skipIf(!canControl).each([
  { kind: 'simple', flags: noTokens },
  { kind: 'JWT', flags: jwtTokens },
])('with $kind tokens', ({ flags }) => {
  let server: EtcdServer;
  let tokens: ReturnType<typeof flags>;
  /** The password at present. */
  let password = locker.password;
  let changes = 0;
  const create = (options?: LockerOptions) =>
    createLocker({ hosts: server.endpoint, auth: { ...locker, password }, ttlMs, requestTimeoutMs: 1_000, ...options });
  const changePassword = async () => {
    const next = `poppy-${String((changes += 1))}`;
    await administer(server.endpoint, (client) => client.user(locker.username).setPassword(next));
    password = next;
  };
  beforeAll(async () => {
    tokens = flags();
    server = await startEtcd({ args: tokens.args });
    await enableAuth({ hosts: server.endpoint }, [{ ...locker, rights: ['locks/'] }]);
  });
  afterAll(async () => {
    await server.stop();
    tokens[Symbol.dispose]();
  });

  test('renewals and commits reject with EtcdAuthError once the password has changed', async () => {
    const options = resolveLockerOptions({ hosts: server.endpoint, auth: { ...locker, password } });
    const store = etcdStore(options);
    const leaseId = '4711';
    await store.grant(leaseId, 60);
    await changePassword();

    const errors = await Promise.all([
      errorOf(store.renew(leaseId, 'locks/gate', 1_000)),
      errorOf(store.commit({ compare: [], then: [{ range: { key: 'locks/x' } }], otherwise: [] }, { once: true })),
    ]);

    await store.close();
    for (const error of errors) {
      expect(error).toBeInstanceOf(EtcdAuthError);
      expect((error as Error).message).toMatch(/authentication failed, invalid user ID or password; the option auth .*"locks\/"/);
    }
  });

  test('new calls of a running locker reject at once once the password has changed', async () => {
    await using used = create();
    await used.withLock('x', () => undefined);
    await changePassword();

    const { error, ms } = await timed(used.lock('x'));

    expect(error).toMatchObject({ code: 'ETCD_AUTH' });
    expect(ms).toBeLessThan(800);
  });

  test('holders and waiters continue if auth is a function that returns the new password', async () => {
    let asked = 0;
    const auth = (): User => {
      asked += 1;
      return { ...locker, password };
    };
    await using holders = create({ auth });
    await using waiters = create({ auth: () => Promise.resolve(auth()) });
    const lock = await holders.lock('x');
    const waiting = follow(waiters.lock('x'));
    await eventually(async () => {
      expect(await holders.inspect('x')).toMatchObject({ waiting: 1 });
    });
    const before = asked;

    for (let round = 0; round < 2; round += 1) {
      await changePassword();
      await sleep(ttlMs);
      expect([lock.held, waiting.error]).toEqual([true, undefined]);
    }

    await lock.release();
    expect((await waiting.promise).held).toBe(true);
    // One token for each locker at the beginning, and one or two for each change.
    expect(before).toBe(2);
    expect(asked).toBeGreaterThan(before);
    expect(asked).toBeLessThanOrEqual(before + 8);
  });

  test('holders and waiters continue when a permission is revoked and granted again', async () => {
    await using holders = create({ ttlMs: 9_000 });
    await using waiters = create({ ttlMs: 9_000 });
    const lock = await holders.lock('y');
    const waiting = follow(waiters.lock('y'));
    await eventually(async () => {
      expect(await holders.inspect('y')).toMatchObject({ waiting: 1 });
    });

    await administer(server.endpoint, (client) => client.user(locker.username).removeRole(locker.username));
    await sleep(2_000);
    await administer(server.endpoint, (client) => client.user(locker.username).addRole(locker.username));
    await sleep(2_000);

    expect([lock.held, waiting.error]).toEqual([true, undefined]);
    await lock.release();
    expect((await waiting.promise).held).toBe(true);
  });

  test('a function for auth that fails, hangs or returns nothing usable is the reason of the failure, and is asked again', async () => {
    const { lines, logger } = listener();
    const secret = 'Hush4711';
    const late = new Promise<User>(() => undefined);
    const fails: [() => User | Promise<User>, RegExp][] = [
      [
        () => Promise.reject(Object.assign(new Error('the vault is sealed'), { secret })),
        /\(the function auth failed: the vault is sealed\)/,
      ],
      [() => { throw new TypeError('no file'); }, /\(the function auth failed: no file\)/], // prettier-ignore
      [() => late, /\(the function auth returned nothing within 400 ms\)/],
      [() => ({ username: '', password: secret }), /\(the function auth returned a wrong value: auth\.username: expected a user name/],
      [() => secret as never, /\(the function auth returned a wrong value: auth: expected an object with username, password/],
    ];
    for (const [auth, reason] of fails) {
      await using failing = create({ auth, logger });
      const { error, ms } = await timed(failing.lock('z'));
      expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE', message: expect.stringMatching(reason) as string });
      expect(JSON.stringify([error, String((error as Error).stack)])).not.toContain(secret);
      expect(ms).toBeLessThan(4_000);
    }
    let isSealed = true;
    await using mended = create({ requestTimeoutMs: 5_000, auth: () => (isSealed ? Promise.reject(new Error('sealed')) : { ...locker, password }) }); // prettier-ignore

    const lock = mended.lock('z');
    await sleep(300);
    isSealed = false;

    expect((await lock).held).toBe(true);
    expect(lines.join('\n')).not.toContain(secret);
  });
});

describe.skipIf(!canControl)('a user that is given before authentication is enabled', () => {
  test('is used as soon as it is enabled, and costs holders and waiters nothing', { timeout: 40_000 }, async () => {
    await using server = await startEtcd({ args: simpleTokens() });
    await using holders = createLocker({ hosts: server.endpoint, auth: locker, ttlMs });
    await using waiters = createLocker({ hosts: server.endpoint, auth: locker, ttlMs });
    const lock = await holders.lock('x');
    const waiting = follow(waiters.lock('x'));
    const states = waiters.watch('y');
    expect((await states.next()).value).toMatchObject({ held: false });
    await eventually(async () => {
      expect(await holders.inspect('x')).toMatchObject({ waiting: 1 });
    });

    await enableAuth({ hosts: server.endpoint }, [{ ...locker, rights: ['locks/'] }]);
    await sleep(2 * ttlMs);

    expect([lock.held, waiting.error]).toEqual([true, undefined]);
    const { ms } = await timed(lock.release().then(() => waiting.promise));
    expect(waiting.value?.held).toBe(true);
    expect(ms).toBeLessThan(1_500);
    // New watches use the stream that was opened without a token.
    const others = waiters.watch('z');
    expect((await others.next()).value).toMatchObject({ held: false });
    const own = await holders.lock('z');
    expect((await others.next()).value).toMatchObject({ held: true });
    await own.release();
    await Promise.all([states.return(), others.return()]);
    await administer(server.endpoint, (client) => client.auth.authDisable());
  });

  test('costs no request for each lock', async () => {
    await using server = await startEtcd({ args: simpleTokens() });
    await using proxy = await startTcpProxy(server.endpoint);
    await using unused = createLocker({ hosts: proxy.endpoint, auth: locker, ttlMs: 60_000 });
    const authentications = async () =>
      Number(/grpc_server_started_total\{grpc_method="Authenticate"[^}]*\} (\d+)/.exec(await server.metrics())?.[1]);
    await unused.withLock('x', () => undefined);
    const before = await authentications();

    for (let n = 0; n < 20; n += 1) await unused.withLock('x', () => undefined);

    expect([before, await authentications()]).toEqual([1, 1]);
  });

  test('replaces the common name of the certificate where that has no permission', async () => {
    const authority = makeAuthority('test CA');
    const rootCertificate = authority.certificate;
    const setup = authority.issue({ commonName: 'root' });
    await using server = await startEtcd({
      args: simpleTokens(),
      tls: { server: authority.issue({ commonName: 'server' }), mutual: { authority: rootCertificate, client: setup } },
    });
    const hosts = `https://${server.endpoint}`;
    const stranger = { rootCertificate, ...clientOf(authority.issue({ commonName: 'stranger' })) };
    await using early = createLocker({ hosts, credentials: stranger, auth: locker, ttlMs });
    const lock = await early.lock('x');
    await enableAuth({ hosts, credentials: { rootCertificate, ...clientOf(setup) } }, [{ ...locker, rights: ['locks/'] }]);

    const other = await early.lock('y');
    await sleep(ttlMs);

    expect([lock.held, other.held]).toEqual([true, true]);
    await lock.release();
    await other.release();
    const client = new Etcd3({ hosts, credentials: { rootCertificate, ...clientOf(setup) }, auth: root });
    await client.auth.authDisable();
    client.close();
  });
});
