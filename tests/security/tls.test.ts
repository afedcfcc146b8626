/** Tests connections with TLS, and the errors for certificates that are not valid. */
import { createLocker, type EtcdUnavailableError } from 'etcd-locker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority } from '../support/fixtures/certificates.ts';
import { canControlServers, freePorts, startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { enableAuth } from '../support/etcd/auth.ts';
import { outcomeOf, uses } from '../support/fixtures/security-stage.ts';

/** Far below the default requestTimeoutMs, and enough on a busy machine. */
const atOnceMs = 2_000;
const authority = makeAuthority('test CA');
const credentials = { rootCertificate: authority.certificate };

describe.skipIf(!(await canControlServers()))('TLS', () => {
  let good: EtcdServer;
  let expired: EtcdServer;
  let otherHost: EtcdServer;
  let plain: EtcdServer;
  beforeAll(async () => {
    const server = (subject: object) => startEtcd({ tls: { server: authority.issue({ commonName: 'server', ...subject }) } });
    [good, expired, otherHost, plain] = await Promise.all([
      server({}),
      server({ notAfter: new Date(Date.now() - 3_600_000) }),
      server({ hosts: ['etcd.example'] }),
      startEtcd(),
    ]);
  });
  afterAll(() => Promise.all([good, expired, otherHost, plain].map((server) => server.stop())));

  test.each(Object.keys(uses))('%s() works with the authority that has issued the certificate', async (method) => {
    const { error } = await outcomeOf({ hosts: good.endpoint, credentials }, method);

    expect(error).toBeUndefined();
  });

  test.each([
    ['a host by its name', () => good.endpoint.replace('127.0.0.1', 'localhost'), {}],
    ['an https:// host', () => `https://${good.endpoint}`, {}],
    ['another name for the check', () => otherHost.endpoint, { 'grpc.ssl_target_name_override': 'etcd.example' }],
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
      () => ({ hosts: otherHost.endpoint, credentials }),
      /for other names than in hosts .*127\.0\.0\.1/,
    ],
  ])('lock() rejects at once, and again, when %s', async (_, options, message) => {
    await using locker = createLocker(options());
    const startedAt = performance.now();

    for (let times = 0; times < 2; times += 1) {
      const error: unknown = await locker.lock('x').catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'ETCD_AUTH', message: expect.stringMatching(message) as string });
    }
    // grpc-js waits up to a second between two attempts at one address.
    expect(performance.now() - startedAt).toBeLessThan(atOnceMs + 1_500);
  });

  test('lock() rejects at once when each of several hosts has an invalid certificate', async () => {
    const { error, ms } = await outcomeOf({ hosts: [expired.endpoint, otherHost.endpoint], credentials });

    expect(error).toMatchObject({ code: 'ETCD_AUTH' });
    expect((error as Error).message).toMatch(/has expired.*other names|other names.*has expired/);
    expect(ms).toBeLessThan(atOnceMs);
  });

  test('inspect() works when two of three hosts have an invalid certificate', async () => {
    // A locker starts at a random host of the list.
    for (let times = 0; times < 6; times += 1) {
      const { error } = await outcomeOf({ hosts: [good.endpoint, expired.endpoint, otherHost.endpoint], credentials }, 'inspect');
      expect(error).toBeUndefined();
    }
  });

  test('lock() retries, and lists the reason of each host, when one of them may come back', async () => {
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
  ])('lock() rejects with the probable cause when %s', async (_, options, message) => {
    const { error } = await outcomeOf({ ...options(), requestTimeoutMs: 600 });

    expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE', message: expect.stringMatching(message) as string });
  });

  describe('with a user and a password', () => {
    const auth = { username: 'locker', password: 'sesame-9431' };
    const grpcOptions = { 'grpc.ssl_target_name_override': 'etcd.example' };
    beforeAll(() => enableAuth({ hosts: `https://${otherHost.endpoint}`, credentials, grpcOptions }, [{ ...auth, rights: ['locks/'] }]));

    test('lock() works with another name for the check', async () => {
      const { error } = await outcomeOf({ hosts: otherHost.endpoint, credentials, auth, grpcOptions });

      expect(error).toBeUndefined();
    });

    test.each([
      ['the password is wrong', { auth: { ...auth, password: 'wrong-7210' }, grpcOptions }, /authentication failed/],
      ['the certificate is for another host', { auth }, /other names than in hosts/],
    ])('lock() rejects at once when %s', async (_, options, message) => {
      const { error, ms } = await outcomeOf({ hosts: otherHost.endpoint, credentials, ...options });

      expect(error).toMatchObject({ code: 'ETCD_AUTH', message: expect.stringMatching(message) as string });
      expect(ms).toBeLessThan(atOnceMs);
    });
  });
});
