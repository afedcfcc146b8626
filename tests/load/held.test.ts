/** One process holds 10 000 locks: beats cost three requests per session, and no lock comes near its deadline. */
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
/** The least remaining time that is accepted. Less would mean that two beats in a row failed. */
const minRemainingMs = 1_000;

/** A user with a role. etcd checks the rights of its requests, which it does not for root. */
const auth = { username: 'locker', password: 'sesame-9431' };

// Concurrent, because each test mostly waits for the next beat.
describe.skipIf(!(await canControlServers()))('10 000 locks held by one process through 10 heartbeats', () => {
  test.concurrent.each([
    ['without auth', undefined],
    ['with auth', auth],
  ])('%s', { timeout: 120_000 }, async (how, user) => {
    await using server = await startEtcd({ args: simpleTokens() });
    if (user !== undefined) await enableAuth({ hosts: server.endpoint }, [{ ...user, rights: ['locks/'] }]);
    const etcd = new Etcd3({ hosts: server.endpoint, ...(user && { auth: root }) });
    const locker = createLocker({ hosts: server.endpoint, ttlMs, ...(user && { auth: user }) });

    const acquiring = await timed(lockAllNames(locker.lock));
    const held = acquiring.value ?? [];
    const before = await serverCounts([server.endpoint]);
    const calls = async () => since(before, await serverCounts([server.endpoint])).calls;
    let remainingMs = Infinity;
    while (((await calls())['LeaseKeepAlive'] ?? 0) < beats * sessions) {
      // The least remaining time of all locks over the whole time.
      for (const lock of held) remainingMs = Math.min(remainingMs, lock.remainingMs);
      await sleep(100);
    }
    const callCounts = await calls();
    const stillHeld = held.filter((lock) => lock.held && !lock.signal.aborted).length;
    const keys = (await etcd.getAll().keys()).length;
    const closing = await timed(locker.close());

    report(`10 000 locks ${how}`, {
      'acquired in ms': acquiring.ms,
      'least remaining ms': remainingMs,
      'closed in ms': closing.ms,
      ...callCounts,
    });
    expect(acquiring.error).toBeUndefined();
    expect(new Set(held.map(({ leaseId }) => leaseId)).size).toBe(sessions);
    expect(stillHeld).toBe(locks);
    expect(keys).toBe(locks + sessions);
    expect(remainingMs).toBeGreaterThan(minRemainingMs);
    // Each beat is a keepalive, a read of the gate and a list of the lease's keys. One beat of each session may be under way.
    const beatCount = callCounts['LeaseKeepAlive'] ?? 0;
    for (const method of ['Range', 'LeaseTimeToLive'])
      expect(Math.abs(beatCount - (callCounts[method] ?? 0)), method).toBeLessThanOrEqual(sessions);
    expect(Object.keys(callCounts).sort()).toEqual(['LeaseKeepAlive', 'LeaseTimeToLive', 'Range']);
    await expectEmpty(etcd);
    etcd.close();
  });
});

/** Acquires all locks with 256 concurrent callers. */
async function lockAllNames(lock: (name: string) => Promise<Lock>): Promise<Lock[]> {
  const held: Lock[] = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: 256 }, async () => {
      while (next < locks) held.push(await lock(`n${String(next++)}`));
    }),
  );
  return held;
}
