/** Tests users that etcd identifies by the common name of their certificate, without a password or a token. */
import { createLocker, type LockerOptions } from 'etcd-locker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority } from '../support/fixtures/certificates.ts';
import { canRunRecipe, openRecipe, passwords } from '../support/fixtures/security-recipe.ts';
import { allUses, clientOf, expectAllDenied, expectOutlivesTtl, outcomeOf, readingUses } from '../support/fixtures/security-stage.ts';

const authority = makeAuthority('test CA');
const rootCertificate = authority.certificate;
const methods = Object.keys(allUses);

describe.skipIf(!canRunRecipe)('users by the common name of their certificate', () => {
  let etcd: Awaited<ReturnType<typeof openRecipe>>;
  const as = (commonName: string, endpoint = etcd.server.endpoint) => ({
    hosts: `https://${endpoint}`,
    credentials: { rootCertificate, ...clientOf(authority.issue({ commonName })) },
  });
  const billing = (): LockerOptions => as('billing');
  beforeAll(async () => {
    const mutual = { authority: rootCertificate, client: authority.issue({ commonName: 'setup' }) };
    // root has a password, but does not send it.
    etcd = await openRecipe((endpoint) => as('root', endpoint), { server: authority.issue({ commonName: 'server' }), mutual });
  });
  afterAll(() => etcd[Symbol.asyncDispose]());

  test.each(methods)('%s works for a user with permission', async (method) => {
    const { error } = await outcomeOf(billing(), method);

    expect(error).toBeUndefined();
  });

  test('a lock outlives its TTL, and is handed over from locker to locker', () => expectOutlivesTtl(billing()));

  test('many locks at once are all acquired', async () => {
    await using locker = createLocker(billing());

    const locks = await Promise.all(Array.from({ length: 40 }, (_, n) => locker.lock(String(n))));

    expect(locks.every(({ held }) => held)).toBe(true);
  });

  test.each([
    ['of a user without permissions', 'nobody', 'locks/'],
    ['of no user', 'stranger', 'locks/'],
    ['of a user with permission for another prefix', 'billing', 'locks-of-others/'],
  ])('every use rejects with an EtcdAuthError that names the prefix when the common name is that %s', async (_, commonName, prefix) => {
    await expectAllDenied(as(commonName), methods, prefix);
  });

  test('a user with read permission can read, and is refused every other use', async () => {
    for (const method of readingUses) expect((await outcomeOf(as('dashboard'), method)).error).toBeUndefined();
    await expectAllDenied(
      as('dashboard'),
      methods.filter((method) => !readingUses.includes(method)),
      'locks/',
    );
  });

  test('a user with a password overrides the common name of the certificate', async () => {
    const auth = { username: 'orders', password: passwords.orders };

    expect((await outcomeOf({ ...as('stranger'), auth })).error).toBeUndefined();
    await expectAllDenied({ ...as('billing'), auth: { ...auth, password: 'wrong-7210' } }, ['lock'], 'locks/');
  });
});
