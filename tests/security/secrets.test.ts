/** Tests that no password, key or token appears in errors, log lines, handles, lockers, or their internals. */
import { inspect } from 'node:util';
import { Etcd3 } from 'etcd3';
import { createLocker, type Locker, type LockerOptions } from 'etcd-locker';
import { webLocks } from 'etcd-locker/web-locks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { internalsOf } from '../../src/locker/internals.ts';
import { makeAuthority } from '../support/fixtures/certificates.ts';
import { canControlServers, freePorts, startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { administer, enableAuth, jwtTokens, simpleTokens } from '../support/etcd/auth.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';
import { hungHost } from '../support/network/hung-host.ts';
import { eventually } from '../support/fixtures/etcd-stage.ts';
import { clientOf, everythingOf, listener, outcomeOf, uses } from '../support/fixtures/security-stage.ts';

const password = 'sesame-9431';
const wrongPassword = 'wrong-7210';

/** Prints a value like `everythingOf`, and circular values too. */
function printsOf(value: unknown): string {
  try {
    return everythingOf(value);
  } catch {
    // JSON cannot represent circular values.
    return inspect(value, { depth: Infinity, showHidden: true, getters: true, maxStringLength: null, maxArrayLength: null });
  }
}

/** Returns the printed forms of a buffer: its text, and its bytes as inspect() and JSON print them. */
function formsOf(secret: Buffer): string[] {
  const lines = secret
    .toString()
    .split('\n')
    .filter((line) => line.length > 20);
  const start = [...secret.subarray(0, 20)];
  return [...lines, 'PRIVATE KEY', start.map((byte) => byte.toString(16).padStart(2, '0')).join(' '), start.join(','), start.join(', ')];
}

function expectNone(texts: readonly string[], secrets: readonly (string | RegExp)[]): void {
  expect(texts.length).toBeGreaterThan(0);
  for (const text of texts) {
    for (const secret of secrets) {
      if (typeof secret === 'string') expect(text).not.toContain(secret);
      else expect(text).not.toMatch(secret);
    }
  }
}

/** Prints a locker, its internals and all of its results: in use, after a loss, and after close(). */
async function printUses(locker: Locker, meanwhile: () => Promise<unknown> = () => Promise.resolve()): Promise<string[]> {
  const values: unknown[] = [locker, internalsOf(locker), internalsOf(locker)?.context, internalsOf(locker)?.queues];
  const lock = await locker.lock('a', { ttlMs: 2_000 });
  const locks = await locker.lockAll(['b', 'c']);
  values.push(lock, locks, lock.signal, lock.guard, await locker.inspect('a'), webLocks(locker), await webLocks(locker).query());
  await meanwhile();
  for await (const state of locker.list()) values.push(state);
  const states = locker.watch('a');
  values.push(states, await states.next());
  await states.return();
  values.push(await errorOf(locker.lock('a', { timeoutMs: 20 })), await errorOf(locker.lock('a', { ttlMs: 1 })));
  await webLocks(locker).request('w', (held) => values.push(held));
  await locks.release();
  values.push(await errorOf(Promise.resolve().then(() => { locks.throwIfLost(); }))); // prettier-ignore
  const shown = values.map(printsOf);
  const waiting = follow(locker.lock('a'));
  await locker.close();
  const late = [
    lock,
    lock.signal,
    lock.signal.reason as unknown,
    waiting.error,
    await errorOf(lock.setValue('x')),
    await errorOf(locker.lock('a')),
  ];
  return [...shown, ...[...late, locker, internalsOf(locker)].map(printsOf)];
}

/** Returns the errors of all uses of a locker. */
async function failuresOf(options: LockerOptions): Promise<unknown[]> {
  // One locker for each use: while a call of a locker waits for a name, tryLock() of the same locker resolves at once.
  const outcomes = Object.keys(uses).map((method) => outcomeOf({ requestTimeoutMs: 300, ...options }, method));
  const errors = (await Promise.all(outcomes)).map(({ error }) => error);
  for (const error of errors) expect(error).toBeInstanceOf(Error);
  return errors;
}

const thrownBy = (options: unknown): Promise<unknown> => errorOf(Promise.resolve().then(() => createLocker(options as LockerOptions)));

describe('a secret in invalid options', () => {
  const secret = 'Hush4711';
  test.each([
    `http://user:${secret}@127.0.0.1:2379`,
    `user:${secret}@127.0.0.1`,
    `https://${secret}@127.0.0.1:2379`,
    `https://user:${secret}/@127.0.0.1:2379`,
    ` HTTPS://user:${secret}@127.0.0.1`,
    `https://user:a@b:${secret}@127.0.0.1\n`,
    `//user:${secret}@127.0.0.1`,
    `http://127.0.0.1:2379?token=${secret}`,
    `127.0.0.1:2379#${secret}`,
    `http://127.0.0.1:2379/v3/${secret}`,
    `127.0.0.1:2379/${secret}/`,
    `https://user:${secret}`,
    `user:${secret}`,
    `[::1]:2379/${secret}`,
    `etcd://user:${secret}@127.0.0.1`,
  ])('does not appear in the error for the host %j', async (host) => {
    for (const hosts of [host, ['127.0.0.1', host]]) {
      const error = await thrownBy({ hosts });
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
      expectNone([printsOf(error)], [secret]);
    }
  });

  test('does not appear in the error for auth or credentials', async () => {
    const { privateKey, certificate } = makeAuthority('test CA').issue({ commonName: 'locker' });
    const broken = Buffer.from(privateKey.toString().replace('END', 'STOP'));
    const rootCertificate = certificate;
    const wrong: unknown[] = [
      { auth: secret },
      { auth: [secret] },
      { auth: { username: '', password: secret } },
      { auth: { username: 1, password: secret } },
      { auth: { username: 'u', password: { secret } } },
      { auth: { username: 'u', password: secret, extra: secret } },
      { credentials: secret },
      { credentials: privateKey },
      { credentials: { rootCertificate: privateKey } },
      { credentials: { rootCertificate: secret } },
      { credentials: { rootCertificate, privateKey: privateKey.toString(), certChain: certificate } },
      { credentials: { rootCertificate, privateKey: broken, certChain: certificate } },
      { credentials: { rootCertificate, privateKey } },
      { credentials: { rootCertificate, privateKey, certChain: privateKey } },
      { credentials: { rootCertificate, privateKey: makeAuthority('x').issue({ commonName: 'x' }).privateKey, certChain: certificate } },
      { credentials: { rootCertificate, privateKey, certChain: certificate }, hosts: 'http://127.0.0.1' },
    ];
    for (const options of wrong) {
      const error = await thrownBy(options);
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS' });
      expectNone([printsOf(error)], [secret, ...formsOf(privateKey), ...formsOf(broken)]);
    }
  });
});

describe.skipIf(!(await canControlServers())).each([
  // Short-lived, so that etcd also refuses tokens during the test.
  { kind: 'simple', token: /[A-Za-z]{16}\.\d+/, flags: () => ({ args: simpleTokens(1), [Symbol.dispose]: () => undefined }) },
  // A JWT part is a JSON object in base64, which begins like this.
  { kind: 'JWT', token: /eyJ[\w-]{8}/, flags: jwtTokens },
])('with a user, a password and $kind tokens', ({ token, flags }) => {
  let server: EtcdServer;
  let tokens: ReturnType<typeof flags>;
  const auth = { username: 'locker', password };
  const secrets = [password, wrongPassword, token];
  beforeAll(async () => {
    tokens = flags();
    server = await startEtcd({ args: tokens.args });
    await enableAuth({ hosts: server.endpoint }, [{ ...auth, rights: ['locks/'] }]);
  });
  afterAll(async () => {
    await server.stop();
    tokens[Symbol.dispose]();
  });
  /** Invalidates the JWTs that were issued before. */
  const changeRights = () => administer(server.endpoint, (client) => client.role(`r${String(Math.random()).slice(2)}`).create());

  test('the pattern of these tests matches a token of this etcd', async () => {
    const client = new Etcd3({ hosts: server.endpoint });
    const answer = await client.auth.authenticate({ name: 'locker', password });
    client.close();

    expect(answer.token).toMatch(token);
  });

  test('no result of a locker contains a password or a token', async () => {
    const { lines, logger } = listener();

    expectNone([...(await printUses(createLocker({ hosts: server.endpoint, auth, logger }), changeRights)), ...lines, ''], secrets);
  });

  test('no error and no log line contains a password or a token', async () => {
    const { lines, logger } = listener();
    await using hung = await hungHost();
    const [closed = 0] = await freePorts(1);
    const refused = `127.0.0.1:${String(closed)}`;
    const base = { hosts: server.endpoint, auth, logger, requestTimeoutMs: 3_000 };

    const errors = await Promise.all([
      failuresOf({ ...base, auth: { ...auth, password: wrongPassword } }),
      failuresOf({ ...base, auth: { username: 'nobody', password } }),
      failuresOf({ ...base, prefix: 'theirs/' }),
      failuresOf({ ...base, hosts: [refused, hung.endpoint], requestTimeoutMs: 200 }),
      failuresOf({ ...base, hosts: refused, requestTimeoutMs: 100 }),
      failuresOf({ ...base, hosts: `https://${server.endpoint}`, requestTimeoutMs: 300 }),
      failuresOf({ hosts: server.endpoint, logger }),
    ]);

    const codes = new Set(errors.flat().map((error) => (error as { readonly code?: unknown }).code));
    expect(codes).toEqual(new Set(['ETCD_AUTH', 'ETCD_UNAVAILABLE']));
    expectNone([...errors.flat().map(printsOf), ...lines], secrets);
  });

  test('no lost lock and no log line of an outage contains a password or a token', async () => {
    const { lines, logger } = listener();
    const own = await startEtcd({ args: tokens.args });
    await enableAuth({ hosts: own.endpoint }, [{ ...auth, rights: ['locks/'] }]);
    const locker = createLocker({ hosts: own.endpoint, auth, logger, ttlMs: 2_000, requestTimeoutMs: 300 });
    const lock = await locker.lock('x');
    const waiting = follow(locker.lock('x'));

    await own.stop();
    await eventually(() => {
      expect(lock.held).toBe(false);
    });
    const values = [
      lock,
      lock.signal.reason as unknown,
      await errorOf(lock.setValue('y')),
      await errorOf(locker.inspect('x')),
      locker,
      internalsOf(locker),
    ];
    await locker.close();

    expect(lines.length).toBeGreaterThan(0);
    expectNone([...[...values, await errorOf(waiting.promise)].map(printsOf), ...lines], secrets);
  });
});

describe.skipIf(!(await canControlServers()))('with a client key', () => {
  const authority = makeAuthority('test CA');
  const rootCertificate = authority.certificate;
  const client = authority.issue({ commonName: 'locker' });
  const secrets = formsOf(client.privateKey);
  let server: EtcdServer;
  beforeAll(async () => {
    server = await startEtcd({
      tls: { server: authority.issue({ commonName: 'server' }), mutual: { authority: rootCertificate, client } },
    });
  });
  afterAll(() => server.stop());

  test('no result of a locker contains the key', async () => {
    const { lines, logger } = listener();
    const credentials = { rootCertificate, ...clientOf(client) };

    expectNone([...(await printUses(createLocker({ hosts: server.endpoint, credentials, logger }))), ...lines], secrets);
  });

  test('no error contains the key', async () => {
    const { lines, logger } = listener();
    const stranger = makeAuthority('another CA').issue({ commonName: 'locker' });
    const [closed = 0] = await freePorts(1);

    const errors = await Promise.all([
      failuresOf({ hosts: server.endpoint, logger, credentials: { rootCertificate, ...clientOf(stranger) }, requestTimeoutMs: 3_000 }),
      failuresOf({ hosts: `127.0.0.1:${String(closed)}`, logger, credentials: { rootCertificate, ...clientOf(client) } }),
      failuresOf({ hosts: server.endpoint, logger, credentials: { ...clientOf(client), rootCertificate: stranger.certificate } }),
    ]);

    expectNone([...errors.flat().map(printsOf), ...lines], [...secrets, ...formsOf(stranger.privateKey)]);
  });
});

test('the checks of these tests find secrets in options, errors, maps, and circular objects', () => {
  const { privateKey } = makeAuthority('test CA').issue({ commonName: 'x' });
  const circle: Record<string, unknown> = { password };
  circle['self'] = circle;

  for (const leak of [{ password }, new Error('x', { cause: new Error(password) }), circle, new Map([['a', new Set([password])]])])
    expect(printsOf(leak)).toContain(password);
  for (const leak of [{ privateKey }, privateKey.toString(), [privateKey.toJSON()]])
    expect(formsOf(privateKey).some((form) => printsOf(leak).includes(form))).toBe(true);
});
