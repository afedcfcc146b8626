/** Tests certificates that change under a running locker, encrypted keys, and the authorities that Node trusts. */
import { createPrivateKey } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createLocker, type Credentials, type LockerOptions } from 'etcd-locker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startEtcd, startTcpProxy, type EtcdServer } from '../support/etcd/etcd.ts';
import { makeAuthority } from '../support/fixtures/certificates.ts';
import { eventually, timed } from '../support/fixtures/etcd-stage.ts';
import { follow } from '../support/fixtures/holding.ts';
import { clientOf, expectOutlivesTtl, listener, outcomeOf } from '../support/fixtures/security-stage.ts';
import { TestProcess } from '../support/run/processes.ts';

const authority = makeAuthority('test CA');
const rootCertificate = authority.certificate;
const valid = clientOf(authority.issue({ commonName: 'locker' }));
const expired = clientOf(authority.issue({ commonName: 'locker', notAfter: new Date(Date.now() - 3_600_000) }));
const script = fileURLToPath(new URL('workers/use.ts', import.meta.url));

describe.skipIf(!(await canControlServers()))('with client certificates', () => {
  let server: EtcdServer;
  const folder = mkdtempSync(join(tmpdir(), 'certificates-'));
  beforeAll(async () => {
    const mutual = { authority: rootCertificate, client: authority.issue({ commonName: 'setup' }) };
    server = await startEtcd({ tls: { server: authority.issue({ commonName: 'server' }), mutual } });
    writeFileSync(join(folder, 'ca.pem'), rootCertificate);
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    await server.stop();
  });

  test(
    'a function is called for each new connection, and holders and waiters continue with renewed certificates',
    { timeout: 40_000 },
    async () => {
      await using proxy = await startTcpProxy(server.endpoint);
      const notAfter = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_000);
      let current: Credentials = { rootCertificate, ...clientOf(authority.issue({ commonName: 'locker', notAfter })) };
      let asked = 0;
      const credentials = (): Credentials => {
        asked += 1;
        return current;
      };
      const options: LockerOptions = { hosts: proxy.endpoint, credentials, ttlMs: 9_000 };
      await using holders = createLocker(options);
      await using waiters = createLocker({ ...options, credentials: () => Promise.resolve(credentials()) });
      const lock = await holders.lock('x');
      const waiting = follow(waiters.lock('x'));
      await eventually(async () => {
        expect(await holders.inspect('x')).toMatchObject({ waiting: 1 });
      });

      // A connection that stands is used on, although its certificate expires.
      await sleep(notAfter.getTime() - Date.now() + 1_500);
      await holders.withLock('y', () => undefined);
      expect([asked, lock.held, waiting.error]).toEqual([2, true, undefined]);
      current = { rootCertificate, ...valid };
      await proxy.cut();
      await proxy.restore();
      await holders.withLock('y', () => undefined);
      await sleep(2_000);

      expect([lock.held, waiting.error]).toEqual([true, undefined]);
      expect(asked).toBeGreaterThanOrEqual(4);
      await lock.release();
      expect((await waiting.promise).held).toBe(true);
      await holders.close();
      await waiters.close();
    },
  );

  test('each call rejects at once while the function returns an expired certificate, and works once it is renewed', async () => {
    let current = expired;
    await using locker = createLocker({ hosts: server.endpoint, credentials: () => ({ rootCertificate, ...current }) });

    const { error, ms } = await timed(locker.lock('x'));
    current = valid;

    expect(error).toMatchObject({ code: 'ETCD_AUTH', message: expect.stringContaining('credentials.certChain') as string });
    expect(ms).toBeLessThan(2_500);
    expect((await locker.lock('x')).held).toBe(true);
  });

  test('a function that fails, hangs or returns nothing usable is the reason of the failure, and is asked again', async () => {
    const { lines, logger } = listener();
    const secret = 'Hush4711';
    const other = clientOf(makeAuthority('test CA').issue({ commonName: 'locker' }));
    const fails: [NonNullable<LockerOptions['credentials']>, RegExp][] = [
      [
        () => Promise.reject(Object.assign(new Error('no certificate at hand'), { secret })),
        /\(the function credentials failed: no certificate at hand\)/,
      ],
      [() => new Promise<never>(() => undefined), /\(the function credentials returned nothing within 400 ms\)/],
      [() => secret as never, /\(the function credentials returned a wrong value: credentials: expected an object/],
      [() => ({ rootCertificate: Buffer.from(secret) }), /returned a wrong value: credentials\.rootCertificate: expected one or more/],
      [
        () => ({ rootCertificate, ...valid, privateKey: other.privateKey }),
        /credentials\.privateKey: expected the key of the first certificate/,
      ],
    ];
    for (const [credentials, reason] of fails) {
      const { error, ms } = await outcomeOf({ hosts: server.endpoint, credentials, logger, requestTimeoutMs: 1_000 });
      expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE', message: expect.stringMatching(reason) as string });
      expect(JSON.stringify([error, String((error as Error).stack)])).not.toContain(secret);
      expect(ms).toBeLessThan(4_000);
    }
    let isMissing = true;
    const credentials = (): Credentials => {
      if (isMissing) throw new Error('missing');
      return { rootCertificate, ...valid };
    };
    await using mended = createLocker({ hosts: server.endpoint, credentials, logger });

    const lock = mended.lock('x');
    await sleep(300);
    isMissing = false;

    expect((await lock).held).toBe(true);
    expect(lines.join('\n')).not.toContain(secret);
  });

  test('close() leaves no connection while the function hangs', async () => {
    await using proxy = await startTcpProxy(server.endpoint);
    let isAsked = false;
    const credentials = (): Promise<never> => {
      isAsked = true;
      return new Promise(() => undefined);
    };
    await using locker = createLocker({ hosts: proxy.endpoint, credentials, requestTimeoutMs: 3_000 });
    const waiting = follow(locker.lock('x'));
    await eventually(() => {
      expect([isAsked, proxy.connections]).toEqual([true, 1]);
    });

    const { ms } = await timed(locker.close());
    await eventually(() => {
      expect(proxy.connections).toBe(0);
    }, 3_000);

    expect(waiting.error).toMatchObject({ code: 'LOCKER_CLOSED' });
    expect(ms).toBeLessThan(5_000);
  });

  test('a lock outlives its TTL with an encrypted key and its passphrase', async () => {
    const passphrase = 'Hush4711';
    const key = createPrivateKey(valid.privateKey).export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase });

    await expectOutlivesTtl({
      hosts: server.endpoint,
      credentials: { rootCertificate, ...valid, privateKey: Buffer.from(key), passphrase },
    });
  });

  test('without rootCertificate the authorities that Node trusts count, and a host by its address causes no warning', async () => {
    const options = {
      hosts: server.endpoint,
      credentials: { privateKey: valid.privateKey.toString('base64'), certChain: valid.certChain.toString('base64') },
    };
    const file = join(folder, 'ca.pem');
    const run = async (env: NodeJS.ProcessEnv) => {
      const none = { NODE_EXTRA_CA_CERTS: undefined, GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: undefined };
      const all = { ...process.env, ...none, ...env, OPTIONS: JSON.stringify(options) };
      await using child = new TestProcess(process.execPath, ['--throw-deprecation', script], all);
      return { ...(await child.ended), steps: child.steps.map(({ step, code }) => [step, code]) };
    };

    const known = [await run({ NODE_EXTRA_CA_CERTS: file }), await run({ GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: file })];
    const unknown = await run({});

    const calls = ['lock', 'tryLock', 'lockAll', 'inspect', 'list', 'watch'];
    const done = { code: 0, signal: null, stderr: '' };
    for (const outcome of known) expect(outcome).toEqual({ ...done, steps: [...calls, 'done'].map((call) => [call, undefined]) });
    expect(unknown).toEqual({ ...done, steps: [...calls.map((call) => [call, 'ETCD_AUTH']), ['done', undefined]] });
  });
});

describe.skipIf(!(await canControlServers()))('a host by its address', () => {
  test.each([
    ['is refused when the certificate is for another address', ['127.0.0.2'], /for other names than in hosts .*127\.0\.0\.2/],
    ['is refused when the certificate is for a name that looks like the address', ['localhost'], /for other names than in hosts/],
    ['is accepted when the certificate is for its address', ['127.0.0.1'], undefined],
  ])('%s', async (_, hosts, message) => {
    await using server = await startEtcd({ tls: { server: authority.issue({ commonName: '127.0.0.1', hosts }) } });

    const { error } = await outcomeOf({ hosts: server.endpoint, credentials: { rootCertificate } });

    if (message === undefined) expect(error).toBeUndefined();
    else expect(error).toMatchObject({ code: 'ETCD_AUTH', message: expect.stringMatching(message) as string });
  });
});
