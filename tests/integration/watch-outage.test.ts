/** Tests that an idle watch() notices an outage of etcd, says that its state may be old, and continues afterwards. */
import type { Locker, LockState, LockStateIterator } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { canControlServers, startTcpProxy, type EtcdMember } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, memberOf, openStage } from '../support/fixtures/etcd-stage.ts';

const requestTimeoutMs = 1_000;

const outages: Record<string, readonly [start: (member: EtcdMember) => Promise<void>, end: (member: EtcdMember) => Promise<void>]> = {
  'is killed and started again with its data': [(member) => member.kill(), (member) => member.start()],
  hangs: [
    (member) => member.freeze(),
    (member) => {
      member.thaw();
      return Promise.resolve();
    },
  ],
};

/** Reads until the watch ends. Adds a question mark to a state that may be old. */
async function collect(states: LockStateIterator, seen: string[]): Promise<void> {
  for await (const { holders, current } of states) seen.push(`${holders[0]?.value ?? 'free'}${current ? '' : '?'}`);
}

// Concurrent, because each test has its own server and mostly waits.
describe.skipIf(!(await canControlServers()))('an idle watch()', { concurrent: true }, () => {
  test.each(Object.keys(outages))('reports that its state may be old, and later the new one, when etcd %s', async (outage) => {
    await using stage = await openStage();
    const [start, end] = outages[outage] ?? expect.unreachable();
    const lock = await stage.createLocker({ ttlMs: 60_000 }).lock('x', { value: 'holder' });
    const [one, all] = [stage.createLocker({ requestTimeoutMs }), stage.createLocker({ requestTimeoutMs })];
    const seen: string[][] = [[], []];
    const watching = [collect(one.watch('x'), seen[0] ?? []), collect(all.watch(), seen[1] ?? [])];
    await eventually(() => {
      expect(seen).toEqual([['holder'], ['holder']]);
    });

    const startedAt = performance.now();
    await start(memberOf(stage.server));
    await eventually(() => {
      expect(seen).toEqual([
        ['holder', 'holder?'],
        ['holder', 'holder?'],
      ]);
    });
    expect(performance.now() - startedAt).toBeLessThan(3 * requestTimeoutMs);
    await end(memberOf(stage.server));
    await eventually(() => {
      expect(seen.map((states) => states[2])).toEqual(['holder', 'holder']);
    });
    await lock.setValue('new');

    await eventually(() => {
      expect(seen.map((states) => states.at(-1))).toEqual(['new', 'new']);
    });
    await lock.release();
    await eventually(() => {
      expect(seen.map((states) => states.at(-1))).toEqual(['free', 'free']);
    });
    await Promise.all([one.close(), all.close()]);
    await Promise.all(watching);
  });

  test.each([
    ['a name', (locker: Locker) => locker.watch('x')],
    ['all names', (locker: Locker) => locker.watch()],
  ])('of %s waits for its first state until etcd can be reached', async (_, watch) => {
    await using stage = await openStage();
    await using proxy = await startTcpProxy(stage.server.endpoint);
    await proxy.cut();
    const lock = await stage.createLocker().lock('x', { value: 'holder' });
    const states = watch(stage.createLocker({ hosts: proxy.endpoint, requestTimeoutMs }));
    const first = follow<IteratorResult<LockState>>(states.next());

    await new Promise((resolve) => setTimeout(resolve, 2.5 * requestTimeoutMs));
    expect(first.isSettled).toBe(false);
    await proxy.restore();

    expect((await first.promise).value).toMatchObject({ holders: [{ value: 'holder' }], current: true });
    await states.return();
    await lock.release();
  });
});
