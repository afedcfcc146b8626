/** Tests that each call ends within requestTimeoutMs when some or all hosts are down or hang. */
import { EtcdUnavailableError, createLocker, type Locker } from 'etcd-locker';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freePorts, hungHost, startTcpProxy, type EtcdServer, type HungHost } from '../support/etcd/etcd.ts';
import { openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

const requestTimeoutMs = 1_000;

let hung: HungHost;
let refused: string;
let stage: Stage<EtcdServer>;

beforeAll(async () => {
  hung = await hungHost();
  refused = `127.0.0.1:${String((await freePorts(1))[0])}`;
  stage = await openStage();
});
afterEach(() => stage.clear());
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await hung.close();
});

const uses: Record<string, (locker: Locker) => Promise<unknown>> = {
  lock: (locker) => locker.lock('x'),
  tryLock: (locker) => locker.tryLock('x'),
  withLock: (locker) => locker.withLock('x', () => 'done'),
  inspect: (locker) => locker.inspect('x'),
  watch: async (locker) => {
    for await (const state of locker.watch('x', { failFast: true })) return state;
    return undefined;
  },
};

describe.each(Object.keys(uses))('%s()', (method) => {
  test('rejects within requestTimeoutMs and lists each host and its reason when no host is an etcd', async () => {
    const unknown = 'nosuchhost.invalid:2379';
    await using locker = createLocker({ hosts: [refused, hung.endpoint, unknown], requestTimeoutMs });

    const { error, ms } = await timed(uses[method]?.(locker) ?? Promise.resolve());

    expect(error).toBeInstanceOf(EtcdUnavailableError);
    expect(ms).toBeLessThan(requestTimeoutMs + 300);
    const { hosts, message } = error as EtcdUnavailableError;
    expect(Object.fromEntries(hosts.map(({ host, reason }) => [host, reason]))).toEqual({
      [refused]: expect.stringContaining('ECONNREFUSED') as string,
      [hung.endpoint]: expect.stringMatching(/no response|no connection|deadline/i) as string,
      [unknown]: expect.stringContaining('Name resolution failed') as string,
    });
    for (const { host, reason } of hosts) expect(message).toContain(`${host} (${reason})`);
  });

  test('rejects within requestTimeoutMs when the only host hangs', async () => {
    await using locker = createLocker({ hosts: hung.endpoint, requestTimeoutMs });

    const { error, ms } = await timed(uses[method]?.(locker) ?? Promise.resolve());

    expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE', hosts: [{ host: hung.endpoint }] });
    expect(ms).toBeLessThan(requestTimeoutMs + 300);
  });

  test.each([
    ['hung first', () => [hung.endpoint, refused, stage.server.endpoint]],
    ['refused first', () => [refused, hung.endpoint, stage.server.endpoint]],
    ['hung last', () => [stage.server.endpoint, refused, hung.endpoint]],
    ['hung between', () => [refused, stage.server.endpoint, hung.endpoint]],
  ])('works within requestTimeoutMs when one of three hosts hangs and one refuses, %s', async (_order, hosts) => {
    const locker = stage.createLockerAt(hosts(), { requestTimeoutMs });

    const { value, ms } = await timed(uses[method]?.(locker) ?? Promise.resolve());

    expect(value).toBeTruthy();
    expect(ms).toBeLessThan(requestTimeoutMs + 300);
  });
});

test('lock() works when etcd starts during the call', async () => {
  await using proxy = await startTcpProxy(stage.server.endpoint);
  await proxy.cut();
  await using locker = createLocker({ hosts: proxy.endpoint });

  const locking = locker.lock('late');
  setTimeout(() => void proxy.restore(), 500);

  expect((await locking).held).toBe(true);
});
