import { createLocker, type EtcdUnavailableError } from 'etcd-locker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority } from '../support/fixtures/certificates.ts';
import { canControlServers, freePorts, startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { enableAuth } from '../support/etcd/auth.ts';
import { outcomeOf, uses } from '../support/fixtures/security-stage.ts';

/** Far below requestTimeoutMs, and enough for a busy machine. */
const atOnceMs = 2_000;
const authority = makeAuthority('test CA');
const credentials = { rootCertificate: authority.certificate };

describe.skipIf(!(await canControlServers()))('TLS', () => {
  let good: EtcdServer;
  let expired: EtcdServer;
  let elsewhere: EtcdServer;
  let plain: EtcdServer;
  beforeAll(async () => {
    const server = (subject: object) => startEtcd({ tls: { server: authority.issue({ commonName: 'server', ...subject }) } });
    [good, expired, elsewhere, plain] = await Promise.all([
      server({}),
      server({ notAfter: new Date(Date.now() - 3_600_000) }),
      server({ hosts: ['etcd.example'] }),
      startEtcd(),
    ]);
  });
  afterAll(() => Promise.all([good, expired, elsewhere, plain].map((server) => server.stop())));

  test.each(Object.keys(uses))('%s() works with the authority that has issued the certificate', async (method) => {
    const { error } = await outcomeOf({ hosts: good.endpoint, credentials }, method);

    expect(error).toBeUndefined();
  });

  test.each([
    ['a host by its name', () => good.endpoint.replace('127.0.0.1', 'localhost'), {}],
    ['an https:// host', () => `https://${good.endpoint}`, {}],
    ['a name of its own for the check', () => elsewhere.endpoint, { 'grpc.ssl_target_name_override': 'etcd.example' }],
  ])('lock() works with %s', async (_, hosts, grpcOptions) => {
    await using locker = createLocker({ hosts: hosts(), credentials, grpcOptions });

    expect((await locker.lock('x')).held).toBe(true);
  });

  test.each(Object.keys(uses))('%s() rejects at once when the certificate is of another authority', async (method) => {
    const { error, ms } = await outcomeOf(
      { hosts: good.endpoint, credentials: { rootCertificate: makeAuthority('another CA').certificate }, prefix: 'mine/' },
      method,
    );

    expect(error).toMatchObject({ code: 'ETCD_AUTH', prefix: 'mine/' });
    expect((error as Error).message).toContain(`${good.endpoint} (the server's certificate is not of an authority in credentials.root`);
    expect(ms).toBeLessThan(atOnceMs);
  });

  test.each([
    ['no authority is given and Node does not know it', () => ({ hosts: `https://${good.endpoint}` }), /credentials\.rootCertificate/],
    ['the certificate has expired', () => ({ hosts: expired.endpoint, credentials }), /has expired/],
    [
      'the certificate is for another host',
      () => ({ hosts: elsewhere.endpoint, credentials }),
      /for other names than in hosts .*127\.0\.0\.1/,
    ],
  ])('lock() rejects at once, and again, when %s', async (_, options, message) => {
    await using locker = createLocker(options());
    const startedAt = performance.now();

    for (let times = 0; times < 2; times += 1) {
      const error: unknown = await locker.lock('x').catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'ETCD_AUTH', message: expect.stringMatching(message) as string });
    }
    // Between two attempts at one address grpc-js lets up to a second pass.
    expect(performance.now() - startedAt).toBeLessThan(atOnceMs + 1_500);
  });

  test('lock() rejects at once when of several hosts each has a certificate that does not count', async () => {
    const { error, ms } = await outcomeOf({ hosts: [expired.endpoint, elsewhere.endpoint], credentials });

    expect(error).toMatchObject({ code: 'ETCD_AUTH' });
    expect((error as Error).message).toMatch(/has expired.*other names|other names.*has expired/);
    expect(ms).toBeLessThan(atOnceMs);
  });

  test('lock() works when one host of three has a certificate that does not count', async () => {
    // Wherever in the list it begins.
    for (let times = 0; times < 6; times += 1) {
      const { error } = await outcomeOf({ hosts: [good.endpoint, expired.endpoint, elsewhere.endpoint], credentials }, 'inspect');
      expect(error).toBeUndefined();
    }
  });

  test('lock() goes on asking, and tells of each host, when another one may come back', async () => {
    const down = `127.0.0.1:${String((await freePorts(1))[0])}`;

    const { error, ms } = await outcomeOf({ hosts: [expired.endpoint, down], credentials, requestTimeoutMs: 600 });

    expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    const { hosts } = error as EtcdUnavailableError;
    expect(Object.fromEntries(hosts.map(({ host, reason }) => [host, reason]))).toMatchObject({
      [expired.endpoint]: expect.stringContaining('has expired') as string,
      [down]: expect.stringContaining('ECONNREFUSED') as string,
    });
    expect(ms).toBeGreaterThan(500);
  });

  test.each([
    ['the server wants TLS and gets none', () => ({ hosts: good.endpoint }), /if it uses TLS, write hosts with https:\/\//],
    [
      'the server speaks no TLS',
      () => ({ hosts: plain.endpoint, credentials }),
      /if it does not use TLS, write hosts with http:\/\/|ECONNRESET/,
    ],
  ])('lock() says what it may be when %s', async (_, options, message) => {
    const { error } = await outcomeOf({ ...options(), requestTimeoutMs: 600 });

    expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE', message: expect.stringMatching(message) as string });
  });

  describe('with a user and a password', () => {
    const auth = { username: 'locker', password: 'sesame-9431' };
    const grpcOptions = { 'grpc.ssl_target_name_override': 'etcd.example' };
    beforeAll(() => enableAuth({ hosts: `https://${elsewhere.endpoint}`, credentials, grpcOptions }, [{ ...auth, rights: ['locks/'] }]));

    test('lock() works, also with a name of its own for the check', async () => {
      const { error } = await outcomeOf({ hosts: elsewhere.endpoint, credentials, auth, grpcOptions });

      expect(error).toBeUndefined();
    });

    test.each([
      ['the password is wrong', { auth: { ...auth, password: 'wrong-7210' }, grpcOptions }, /authentication failed/],
      ['the certificate is for another host', { auth }, /other names than in hosts/],
    ])('lock() rejects at once when %s', async (_, options, message) => {
      const { error, ms } = await outcomeOf({ hosts: elsewhere.endpoint, credentials, ...options });

      expect(error).toMatchObject({ code: 'ETCD_AUTH', message: expect.stringMatching(message) as string });
      expect(ms).toBeLessThan(atOnceMs);
    });
  });
});
