/** Users whose certificate says who they are: no password, no token. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, type LockerOptions } from 'etcd-locker';
import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority } from '../support/certificates.ts';
import { startEtcd, type EtcdServer } from '../support/etcd.ts';
import { follow } from '../support/fixtures-holding.ts';
import { eventually } from '../support/integration-stage.ts';
import { canRunRecipe, passwords, runRecipe } from '../support/security-recipe.ts';
import { allUses, clientOf, expectAllDenied, outcomeOf, readingUses } from '../support/security-stage.ts';

const authority = makeAuthority('test CA');
const rootCertificate = authority.certificate;
const methods = Object.keys(allUses);

describe.skipIf(!canRunRecipe)('users by the common name of their certificate', () => {
  let server: EtcdServer;
  let root: Etcd3;
  const as = (commonName: string) => ({
    hosts: `https://${server.endpoint}`,
    credentials: { rootCertificate, ...clientOf(authority.issue({ commonName })) },
  });
  const billing = (options?: LockerOptions): LockerOptions => ({ ...as('billing'), ...options });
  beforeAll(async () => {
    const mutual = { authority: rootCertificate, client: authority.issue({ commonName: 'setup' }) };
    server = await startEtcd({ args: ['--bcrypt-cost', '4'], tls: { server: authority.issue({ commonName: 'server' }), mutual } });
    await runRecipe(server, mutual);
    // It has a password, and gives none.
    root = new Etcd3(as('root'));
    await root.user('nobody').create('sesame-9431');
  });
  afterAll(async () => {
    await eventually(async () => {
      expect(await root.getAll().keys()).toEqual([]);
      expect((await root.leaseClient.leaseLeases()).leases).toEqual([]);
    });
    root.close();
    await server.stop();
  });

  test.each(methods)('%s works for a user with rights', async (method) => {
    const { error } = await outcomeOf(billing(), method);

    expect(error).toBeUndefined();
  });

  test('a lock outlives its TTL, and is handed over from locker to locker', async () => {
    await using holders = createLocker(billing({ ttlMs: 2_000 }));
    await using waiters = createLocker(billing());
    const lock = await holders.lock('x');
    const waiting = follow(waiters.lock('x'));

    await sleep(2_500);

    expect([lock.held, waiting.isSettled]).toEqual([true, false]);
    await lock.release();
    expect((await waiting.promise).held).toBe(true);
  });

  test('many locks at once go through together', async () => {
    await using locker = createLocker(billing());

    const locks = await Promise.all(Array.from({ length: 40 }, (_, n) => locker.lock(String(n))));

    expect(locks.every(({ held }) => held)).toBe(true);
  });

  test.each([
    ['of a user without rights', 'nobody', 'locks/'],
    ['of no user', 'stranger', 'locks/'],
    ['of a user with rights under another prefix', 'billing', 'locks-of-others/'],
  ])('every use rejects with EtcdAuthError that names the prefix when the common name is that %s', async (_, commonName, prefix) => {
    await expectAllDenied(as(commonName), methods, prefix);
  });

  test('a user that may only read is refused everything else', async () => {
    for (const method of readingUses) expect((await outcomeOf(as('dashboard'), method)).error).toBeUndefined();
    await expectAllDenied(
      as('dashboard'),
      methods.filter((method) => !readingUses.includes(method)),
      'locks/',
    );
  });

  test('a user with a password counts, whatever the certificate says', async () => {
    const auth = { username: 'orders', password: passwords.orders };

    expect((await outcomeOf({ ...as('stranger'), auth })).error).toBeUndefined();
    await expectAllDenied({ ...as('billing'), auth: { ...auth, password: 'wrong-7210' } }, ['lock'], 'locks/');
  });
});
