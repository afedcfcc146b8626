/** Tests of requests to several hosts: when the next host is tried. */
import { describe, expect, test, vi } from 'vitest';
import { ClientLoadError } from '../../src/errors.ts';
import { resolveLockerOptions } from '../../src/options/options.ts';
import { CallFailure, status } from '../../src/store/etcd/call-failure.ts';
import { Host } from '../../src/store/etcd/host.ts';
import { Hosts } from '../../src/store/etcd/hosts.ts';

/** Two hosts. A try at one of them takes at most 100 ms. */
const twoHosts = (requestTimeoutMs = 300): Hosts =>
  new Hosts(resolveLockerOptions({ hosts: ['127.0.0.1:1', '127.0.0.1:2'], requestTimeoutMs }));

const learner = 'etcdserver: rpc not supported for learner';
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const succeeds = (): Promise<void> => Promise.resolve();

/** A try that fails like one at a host that does not respond in time. */
const timesOut = async (_host: unknown, timeoutMs: number): Promise<never> => {
  await new Promise((resolve) => setTimeout(resolve, timeoutMs));
  throw new CallFailure(status.deadlineExceeded, 'Deadline exceeded');
};

describe('Hosts', () => {
  test('request() stays at a host when the time limit of the caller ended the try', async () => {
    const hosts = twoHosts();
    const { current } = hosts;

    await expect(hosts.request(timesOut, { timeoutMs: 60 })).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    expect(hosts.current).toBe(current);
    await expect(hosts.request(timesOut, { timeoutMs: 60, once: true })).rejects.toMatchObject({ name: 'OutcomeUnknownError' });

    expect(hosts.current).toBe(current);
  });

  test('request() leaves nothing that looks like an outage when the client could not be loaded at first', async () => {
    const hosts = twoHosts();
    await expect(hosts.request(() => Promise.reject(new ClientLoadError(new Error('no file'))))).rejects.toMatchObject({
      code: 'CLIENT_LOAD',
    });
    expect(hosts.silence.current(hosts.tryMs)?.hosts).toMatchObject([{ reason: expect.stringContaining('no file') as string }]);

    await hosts.request(succeeds);

    expect(hosts.silence.current(hosts.tryMs)).toBeUndefined();
  });

  test('request() goes to the next host after a whole try without a response', async () => {
    const hosts = twoHosts();
    const { current } = hosts;

    await expect(hosts.request(timesOut, { once: true })).rejects.toMatchObject({ name: 'OutcomeUnknownError' });

    expect(hosts.current).not.toBe(current);
  });

  test('request() goes back to its first host some time after it failed, once a read shows that it is well', async () => {
    const hosts = twoHosts(50);
    const home = hosts.current;
    const call = vi.spyOn(Host.prototype, 'call').mockRejectedValue(new CallFailure(status.failedPrecondition, learner));
    hosts.failed(home);

    await pause(320); // a probe is due after 50 to 300 ms
    await hosts.request(succeeds);
    await pause(0);
    expect([call.mock.calls.length, hosts.current === home]).toEqual([1, false]);

    call.mockReset();
    call.mockResolvedValue(Buffer.alloc(0));
    await pause(320);
    await hosts.request(succeeds);
    await pause(0);
    expect([call.mock.calls.length, hosts.current === home]).toEqual([1, true]);
    call.mockRestore();
  });

  test('request() probes its first host less often after it failed again', async () => {
    const hosts = twoHosts(50);
    const home = hosts.current;
    const call = vi.spyOn(Host.prototype, 'call').mockResolvedValue(Buffer.alloc(0));
    const random = vi.spyOn(Math, 'random').mockReturnValue(0);
    hosts.failed(home);
    await pause(60);
    await hosts.request(succeeds);
    await pause(0);
    expect(hosts.current).toBe(home);

    hosts.failed(home);
    await pause(60);
    await hosts.request(succeeds);
    await pause(0);
    expect(hosts.current).not.toBe(home);
    await pause(50);
    await hosts.request(succeeds);
    await pause(0);
    expect(hosts.current).toBe(home);
    call.mockRestore();
    random.mockRestore();
  });

  test('request() goes to the next host after a short try that failed for another reason', async () => {
    const hosts = twoHosts();
    const tried = new Set<unknown>();
    const refused = (host: unknown): Promise<never> => {
      tried.add(host);
      return Promise.reject(new CallFailure(status.unavailable, 'No connection established. Last error: connect ECONNREFUSED'));
    };

    await expect(hosts.request(refused, { timeoutMs: 60 })).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE' });

    expect(tried.size).toBe(2);
  });

  test('request() with once keeps the refusal as the cause when etcd is out of space', async () => {
    const noSpace = () => Promise.reject(new CallFailure(status.resourceExhausted, 'etcdserver: mvcc: database space exceeded'));

    await expect(twoHosts().request(noSpace, { once: true })).rejects.toMatchObject({
      name: 'OutcomeUnknownError',
      cause: { code: 'ETCD_REFUSED' },
    });
  });

  test('request() reports a response that is too large at once, but as an unknown outcome with once', async () => {
    let tries = 0;
    const tooLarge = () => {
      tries += 1;
      return Promise.reject(new CallFailure(status.resourceExhausted, 'Received message larger than max (70000000 vs 67108864)'));
    };

    await expect(twoHosts().request(tooLarge)).rejects.toMatchObject({ code: 'ETCD_REFUSED' });
    await expect(twoHosts().request(tooLarge, { once: true })).rejects.toMatchObject({ name: 'OutcomeUnknownError' });

    expect(tries).toBe(2);
  });

  test('request() sends nothing if the time is too short for a response', async () => {
    let tries = 0;

    const request = twoHosts().request(() => Promise.resolve((tries += 1)), { timeoutMs: 9 });

    await expect(request).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    expect(tries).toBe(0);
  });
});
