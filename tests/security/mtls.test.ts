/** Tests client certificates. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority } from '../support/fixtures/certificates.ts';
import { canControlServers, startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { clientOf, expectOutlivesTtl, outcomeOf, uses } from '../support/fixtures/security-stage.ts';

const authority = makeAuthority('test CA');
const rootCertificate = authority.certificate;
const client = authority.issue({ commonName: 'locker' });

describe.skipIf(!(await canControlServers()))('mutual TLS', () => {
  let server: EtcdServer;
  beforeAll(async () => {
    const mutual = { authority: rootCertificate, client };
    server = await startEtcd({ tls: { server: authority.issue({ commonName: 'server' }), mutual } });
  });
  afterAll(() => server.stop());

  test.each(Object.keys(uses))('%s() works with a certificate of the authority that the server trusts', async (method) => {
    const { error } = await outcomeOf({ hosts: server.endpoint, credentials: { rootCertificate, ...clientOf(client) } }, method);

    expect(error).toBeUndefined();
  });

  test('a lock outlives its TTL, and is handed over from locker to locker', () =>
    expectOutlivesTtl({ hosts: server.endpoint, credentials: { rootCertificate, ...clientOf(client) } }));

  test.each([
    ['there is no client certificate', {}],
    ['the client certificate is of another authority', clientOf(makeAuthority('another CA').issue({ commonName: 'locker' }))],
    ['the client certificate has expired', clientOf(authority.issue({ commonName: 'locker', notAfter: new Date(Date.now() - 3_600_000) }))],
  ])('each call rejects at once, with an error that names the option, when %s', async (_, given) => {
    const credentials = { rootCertificate, ...given };

    const outcomes = await Promise.all(Object.keys(uses).map((method) => outcomeOf({ hosts: server.endpoint, credentials }, method)));

    for (const { error, ms } of outcomes) {
      expect(error).toMatchObject({ code: 'ETCD_AUTH' });
      expect((error as Error).message).toContain('credentials.certChain');
      expect(ms).toBeLessThan(2_500);
    }
  });
});
