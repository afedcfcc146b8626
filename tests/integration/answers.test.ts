/** Tests of what calls report while etcd is down, and of thousands of callers whose time is up together. */
import { createLocker, type Lock, type Locker } from 'etcd-locker';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, findEtcd, startTcpProxy, type EtcdMember, type EtcdServer } from '../support/etcd/etcd.ts';
import { memberOf, openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

/** By how much a busy machine may delay a result. */
const slackMs = 400;

const calls: Record<string, (locker: Locker, timeoutMs: number) => Promise<unknown>> = {
  lock: (locker, timeoutMs) => locker.lock('x', { timeoutMs }),
  tryLock: (locker, timeoutMs) => locker.tryLock('x', { timeoutMs }),
  lockAll: (locker, timeoutMs) => locker.lockAll(['x', 'y'], { timeoutMs }),
  tryLockAll: (locker, timeoutMs) => locker.tryLockAll(['x', 'y'], { timeoutMs }),
};

/** Asserts that all calls of the lockers report the outage, each at its own time, with the reason of each host. */
async function expectOutage(lockers: readonly Locker[], endpoints: readonly string[], reason: RegExp): Promise<void> {
  const hosts = endpoints.map((host) => ({ host, reason: expect.stringMatching(reason) as string }));
  for (const timeoutMs of [300, 2_000]) {
    const results = await Promise.all(lockers.flatMap((locker) => Object.values(calls).map((call) => timed(call(locker, timeoutMs)))));
    for (const { error, ms } of results) {
      expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE', hosts });
      expect(String(error)).toContain(`within ${String(timeoutMs)} ms`);
      expect(ms).toBeGreaterThan(timeoutMs - 5);
      expect(ms).toBeLessThan(timeoutMs + slackMs);
    }
  }
  // After earlier timeouts a call with more time reports it as on a fresh locker.
  const results = await Promise.all(lockers.map((locker) => timed(locker.lock('x', { timeoutMs: 6_000 }))));
  for (const { error, ms } of results) {
    expect(error).toMatchObject({ code: 'ETCD_UNAVAILABLE', hosts });
    expect(ms).toBeLessThan(5_000 + slackMs);
  }
}

function recordWarnings(): { readonly warnings: string[]; readonly logger: Console } {
  const warnings: string[] = [];
  return { warnings, logger: { ...console, debug: () => undefined, warn: (line: string) => warnings.push(line) } };
}

const stops: Record<string, { readonly stop: (member: EtcdMember) => Promise<void>; readonly reason: RegExp }> = {
  killed: { stop: (member) => member.kill(), reason: /ECONNREFUSED|ECONNRESET|connection|no response|deadline/i },
  frozen: { stop: (member) => member.freeze(), reason: /no response|deadline/i },
};

describe.skipIf(!(await canControlServers()))('calls with timeoutMs', { concurrent: true }, () => {
  test.each(Object.keys(stops))('report an outage, not a busy name, when etcd is %s', async (kind) => {
    await using stage = await openStage();
    const { stop, reason } = stops[kind] ?? {};
    const { warnings, logger } = recordWarnings();
    const [used, fresh] = [stage.createLocker({ ttlMs: 60_000, logger }), stage.createLocker({ logger })];
    await used.withLock('x', () => undefined);
    const member = memberOf(stage.server);
    await stop?.(member);

    await expectOutage([used, fresh], stage.server.endpoints, reason ?? /./);

    // Two lockers, for about 8 s.
    expect(warnings.filter((line) => line.includes('Cannot reach etcd')).length).toBeGreaterThanOrEqual(2);
    expect(warnings.length).toBeLessThanOrEqual(8);
    if (kind === 'killed') await member.start();
  });

  test('report an outage when a gateway swallows all data of the connection', async () => {
    await using stage = await openStage();
    await using proxy = await startTcpProxy(stage.server.endpoint);
    await using used = createLocker({ hosts: proxy.endpoint, ttlMs: 60_000 });
    await using fresh = createLocker({ hosts: proxy.endpoint });
    await used.withLock('x', () => undefined);
    proxy.hang();

    await expectOutage([used, fresh], [proxy.endpoint], /no response|deadline/i);

    proxy.resume();
  });

  test('report a busy name with the outage as its cause when etcd was killed while they waited', async () => {
    await using stage = await openStage();
    await stage.createLocker({ ttlMs: 60_000 }).lock('x');
    const { warnings, logger } = recordWarnings();
    const waiter = stage.createLocker({ ttlMs: 6_000, logger });
    const waiting = timed(waiter.lock('x', { timeoutMs: 8_000 }));
    await stage.queued('x', 2);
    await memberOf(stage.server).kill();

    const { error, ms } = await waiting;

    expect(error).toMatchObject({ code: 'LOCK_TIMEOUT', timeoutMs: 8_000, cause: { code: 'ETCD_UNAVAILABLE' } });
    expect(ms).toBeLessThan(8_000 + slackMs);
    expect(warnings.length).toBeGreaterThan(0);
    await memberOf(stage.server).start();
  });
});

// On a shared server, the count includes calls of other clients.
describe.skipIf((await findEtcd()).kind === 'endpoints')('5 000 callers of one name whose time is up together', () => {
  let stage: Stage<EtcdServer>;
  beforeAll(async () => {
    stage = await openStage();
  });
  afterEach(() => stage.clear());
  afterAll(() => stage[Symbol.asyncDispose]());

  const countRequests = async (): Promise<number> => {
    const lines = (await stage.server.metrics()).matchAll(/^grpc_server_handled_total\{.*grpc_method="(?:Txn|Range)".*\} (\S+)$/gm);
    return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
  };

  test.each([
    ['the same value', (): object => ({})],
    ['a value each', (index: number): object => ({ value: `caller ${String(index)}` })],
  ])('take a handful of requests, are told at once, and cost the process no lock: %s', async (_, optionsOf) => {
    await stage.createLocker({ ttlMs: 60_000 }).lock('x', { value: 'holder' });
    const locker = stage.createLocker({ ttlMs: 5_000 });
    const own = await locker.lock('own');
    const before = await countRequests();
    const timeoutMs = 2_000;

    const results = await Promise.all(
      Array.from({ length: 5_000 }, (__, index) => timed<Lock>(locker.lock('x', { timeoutMs, ...optionsOf(index) }))),
    );

    const lateMs = Math.max(...results.map(({ ms }) => ms)) - timeoutMs;
    expect(results.map(({ error }) => (error as { code?: string } | undefined)?.code)).toEqual(Array(5_000).fill('LOCK_TIMEOUT'));
    expect(results.filter(({ error }) => (error as { holder?: string }).holder === 'holder').length).toBeGreaterThan(4_900);
    // 100 ms on an idle machine.
    expect(lateMs).toBeLessThan(100 + slackMs);
    expect((await countRequests()) - before).toBeLessThan(30);
    expect(own.held).toBe(true);
    await own.release();
  });
});
