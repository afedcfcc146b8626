/** Tests locks between processes: order, loss after a kill or a stop, and inspection. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { EtcdServer } from '../support/etcd/etcd.ts';
import { eventually, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { startWorker } from '../support/run/processes.ts';

let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(async () => {
  for (const key of ['total', 'guarded']) await stage.etcd.delete(key);
  await stage[Symbol.asyncDispose]();
});

test.concurrent('lock() admits several processes one at a time, with rising tokens', async () => {
  const [processes, times] = [4, 25];
  await stage.etcd.put('total', '0');
  const settings = { hosts: stage.server.endpoint, prefix: stage.prefix, name: 'counter', ttlMs: 5_000, times };
  const workers = Array.from({ length: processes }, () => startWorker('count.ts', settings));

  const endings = await Promise.all(workers.map(({ ended }) => ended));

  expect(endings).toEqual(endings.map(() => ({ code: 0, signal: null, stderr: '' })));
  const holds = workers
    .flatMap(({ steps }) => steps.filter(({ step }) => step === 'hold'))
    .map(({ token, before, wasAlone, held }) => ({ token: BigInt(String(token)), before: Number(before), wasAlone, held }))
    .sort((a, b) => (a.token < b.token ? -1 : 1));
  // In the order of their tokens, each holder read the number that its predecessor wrote.
  expect(holds.map(({ before }) => before)).toEqual(Array.from({ length: processes * times }, (_, index) => index));
  expect(holds.filter(({ wasAlone, held }) => wasAlone !== true || held !== true)).toEqual([]);
  expect(new Set(holds.map(({ token }) => token)).size).toBe(processes * times);
  expect(await stage.etcd.keys('total')).toMatchObject([{ value: String(processes * times) }]);
});

describe('a process that holds', { concurrent: true }, () => {
  const ttlMs = 2_000;
  const startHolder = (name: string, scenario: string) =>
    startWorker('hold.ts', { hosts: stage.server.endpoint, prefix: stage.prefix, name, ttlMs, scenario });

  test('is followed by the first waiter after its TTL when it is killed', async () => {
    await using holder = startHolder('killed', 'wait');
    const { token } = await holder.reached('held');
    await using second = startHolder('killed', 'wait');
    await stage.queued('killed', 2);
    const locker = stage.createLocker({ ttlMs });
    const third = locker.lock('killed');
    await stage.queued('killed', 3);

    holder.signal('SIGKILL');
    const killedAt = performance.now();
    const next = await second.reached('held');

    expect(performance.now() - killedAt).toBeLessThan(ttlMs + 2_500);
    expect(BigInt(String(next['token']))).toBeGreaterThan(BigInt(String(token)));
    second.signal('SIGKILL');
    expect((await third).fencingToken).toBeGreaterThan(BigInt(String(next['token'])));
  });

  test('holds for longer than its TTL while it runs', async () => {
    await using holder = startHolder('living', 'wait');
    await holder.reached('held');

    await sleep(1.5 * ttlMs);

    expect(await stage.createLocker().tryLock('living')).toBeNull();
    expect(await stage.etcd.entries('living')).toHaveLength(1);
  });

  // Alone, because its process takes a whole core.
  test(
    'knows at its first statement after a stop past its TTL that it lost the lock, and cannot write with its guard',
    { concurrent: false },
    async () => {
      await using holder = startHolder('stopped', 'spin');
      await holder.reached('held');
      const locker = stage.createLocker({ ttlMs });
      const locking = locker.lock('stopped');
      await stage.queued('stopped', 2);

      holder.signal('SIGSTOP');
      const lock = await locking;
      await stage.etcd.put('guarded', 'the second');
      // The holder recognizes the stop by the gap in its clock.
      await sleep(ttlMs);
      holder.signal('SIGCONT');
      const woken = await holder.reached('woken');

      expect(woken).toMatchObject({ held: false, wasAborted: true, remainingMs: 0, guarded: false });
      expect(woken['reason']).toContain('LockLostError');
      expect(await holder.ended).toEqual({ code: 0, signal: null, stderr: '' });
      expect(lock.held).toBe(true);
      expect(await stage.etcd.entries('stopped')).toMatchObject([{ key: lock.key }]);
      expect(await stage.etcd.keys('guarded')).toMatchObject([{ value: 'the second' }]);
    },
  );

  test('appears in inspect() and watch() of another process, with its value', async () => {
    const locker = stage.createLocker();
    const states = locker.watch('seen');
    expect((await states.next()).value).toMatchObject({ held: false, holders: [] });
    await using holder = startHolder('seen', 'wait');
    const { key, token } = await holder.reached('held');

    expect((await states.next()).value).toMatchObject({ holders: [{ key, foreign: false, fencingToken: BigInt(String(token)) }] });
    expect((await locker.inspect('seen')).holders[0]?.value).toMatch(/.+:\d+$/);
    holder.signal('SIGKILL');
    await eventually(async () => {
      expect(await locker.inspect('seen')).toMatchObject({ held: false });
    });
    expect((await states.next()).value).toMatchObject({ held: false });
    await states.return();
  });
});
