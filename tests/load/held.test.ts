import { setTimeout as sleep } from 'node:timers/promises';
import { Etcd3 } from 'etcd3';
import { createLocker, type Lock } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { serverCounts, since } from '../bench/metrics.ts';
import { canControlServers, startEtcd } from '../support/etcd/etcd.ts';
import { enableAuth, expectEmpty, root, simpleTokens } from '../support/etcd/auth.ts';
import { timed } from '../support/fixtures/etcd-stage.ts';
import { report } from './report.ts';

const locks = 10_000;
const sessions = 10;
const beats = 10;
const ttlMs = 9_000;
/** What the shortest time left may be: two beats in a row would have to fail for less. */
const leastLeftMs = 1_000;

/** Whose every request etcd compares with the rights of a role, as it does not for root. */
const auth = { username: 'locker', password: 'sesame-9431' };

// Side by side, as each does little but wait for the next beat.
describe.skipIf(!(await canControlServers()))('10 000 locks held by one process through 10 heartbeats', () => {
  test.concurrent.each([
    ['without auth', undefined],
    ['with auth', auth],
  ])('%s', { timeout: 120_000 }, async (how, user) => {
    await using server = await startEtcd({ args: simpleTokens() });
    if (user !== undefined) await enableAuth({ hosts: server.endpoint }, [{ ...user, rights: ['locks/'] }]);
    const etcd = new Etcd3({ hosts: server.endpoint, ...(user && { auth: root }) });
    const locker = createLocker({ hosts: server.endpoint, ttlMs, ...(user && { auth: user }) });

    const taking = await timed(takeAll(locker.lock));
    const held = taking.value ?? [];
    const before = await serverCounts([server.endpoint]);
    const calls = async () => since(before, await serverCounts([server.endpoint])).calls;
    let leftMs = Infinity;
    while (((await calls())['LeaseKeepAlive'] ?? 0) < beats * sessions) {
      // Over all: it is the least of any of them at any time that counts.
      for (const lock of held) leftMs = Math.min(leftMs, lock.remainingMs);
      await sleep(100);
    }
    const seen = await calls();
    const stillHeld = held.filter((lock) => lock.held && !lock.signal.aborted).length;
    const keys = (await etcd.getAll().keys()).length;
    const closing = await timed(locker.close());

    report(`10 000 locks ${how}`, {
      'taken in ms': taking.ms,
      'least left in ms': leftMs,
      'closed in ms': closing.ms,
      ...seen,
    });
    expect(taking.error).toBeUndefined();
    expect(new Set(held.map(({ leaseId }) => leaseId)).size).toBe(sessions);
    expect(stillHeld).toBe(locks);
    expect(keys).toBe(locks + sessions);
    expect(leftMs).toBeGreaterThan(leastLeftMs);
    // Each beat is a keepalive, a read of the gate and a look at the lease's keys, and there is nothing else; one may be under way.
    const beaten = seen['LeaseKeepAlive'] ?? 0;
    for (const method of ['Range', 'LeaseTimeToLive']) expect(Math.abs(beaten - (seen[method] ?? 0)), method).toBeLessThanOrEqual(sessions);
    expect(Object.keys(seen).sort()).toEqual(['LeaseKeepAlive', 'LeaseTimeToLive', 'Range']);
    await expectEmpty(etcd);
    etcd.close();
  });
});

/** As many callers at once as a busy process has, until all are taken. */
async function takeAll(lock: (name: string) => Promise<Lock>): Promise<Lock[]> {
  const held: Lock[] = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: 256 }, async () => {
      while (next < locks) held.push(await lock(`n${String(next++)}`));
    }),
  );
  return held;
}
