/** Tests of what two Go packages for locks on etcd promise: each promise has its counterpart here. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Etcd3 } from 'etcd3';
import { createLocker, EtcdUnavailableError, type Lock } from 'etcd-locker';
import { describe, expect, inject, test } from 'vitest';
import { errorOf, expectFree, expectHolder, follow } from '../support/fixtures/holding.ts';
import { openEtcd } from '../support/fixtures/lockers.ts';
import { hungHost } from '../support/etcd/etcd.ts';

const open = () => openEtcd(inject('etcdEndpoints'));

describe('the promises of two Go packages', () => {
  test('New(machines, dial timeout, ttl): createLocker() takes hosts, requestTimeoutMs and ttlMs, and close() ends the locker', async () => {
    await using hung = await hungHost();
    await using fixture = await open();
    const hosts = [hung.endpoint, ...inject('etcdEndpoints')];
    const locker = fixture.createLocker({ hosts, requestTimeoutMs: 3_000, ttlMs: 5_000 });

    const lock = await locker.lock('master');
    expect(lock.remainingMs).toBeLessThanOrEqual(4_500);
    await locker.close();

    expect(lock.held).toBe(false);
    await expectFree(fixture.createLocker(), 'master');
  });

  test('New() with an unreachable machine: lock() rejects within requestTimeoutMs', async () => {
    await using locker = createLocker({ hosts: '127.0.0.1:1', requestTimeoutMs: 500 });
    const startedAt = performance.now();

    const error = await errorOf(locker.lock('master'));

    expect(error).toBeInstanceOf(EtcdUnavailableError);
    expect(error).toMatchObject({ hosts: [{ host: '127.0.0.1:1', reason: expect.any(String) as string }] });
    expect(performance.now() - startedAt).toBeLessThan(1_500);
  });

  test('Lock() succeeds for a free key, and fails at once for a held one: tryLock() returns a lock, then null', async () => {
    await using fixture = await open();
    const [one, other] = [fixture.createLocker({ value: 'one' }), fixture.createLocker()];

    const success = await one.tryLock('master');
    const startedAt = performance.now();
    const fail = await other.tryLock('master');

    expect(fail).toBeNull();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    if (success === null) return expect.unreachable('it was free');
    await expectHolder(other, success);
  });

  test('Unlock() frees the key for the next Lock(): release() and the end of `await using`', async () => {
    await using fixture = await open();
    const [one, other] = [fixture.createLocker(), fixture.createLocker()];
    const tokens: bigint[] = [];

    const first = await one.lock('master');
    tokens.push(first.fencingToken);
    await first.release();
    {
      await using second = await other.lock('master');
      tokens.push(second.fencingToken);
      await expectHolder(one, second);
    }
    await using third = await one.lock('master');
    tokens.push(third.fencingToken);

    await expectHolder(other, third);
    expect(tokens).toEqual([...new Set(tokens)].sort((a, b) => Number(a - b)));
  });

  test('the lock of a dead holder is free after the TTL, and a living holder keeps its lock', async () => {
    await using fixture = await open();
    const locker = fixture.createLocker({ ttlMs: 2_000 });
    const living = await locker.lock('kept');
    const child = fork(fileURLToPath(new URL('../support/fixtures/holder-process.ts', import.meta.url)), {
      env: { ...process.env, HOSTS: inject('etcdEndpoints').join(','), PREFIX: fixture.prefix, NAME: 'master', TTL_MS: '2000' },
      execArgv: ['--no-warnings'],
    });
    const [dead] = (await once(child, 'message')) as [{ key: string; token: string }];
    const waiting = follow(locker.lock('master'));
    await fixture.until(async () => {
      expect((await fixture.entries('master')).map(({ key }) => key)).toHaveLength(2);
    });

    child.kill('SIGKILL');
    const killedAt = performance.now();
    await once(child, 'exit');
    const lock = await waiting.promise;

    expect(performance.now() - killedAt).toBeLessThan(6_000);
    expect(lock.fencingToken).toBeGreaterThan(BigInt(dead.token));
    await expectHolder(locker, lock);
    await expectHolder(locker, living);
  });

  test('Get() returns the value of a held lock, and LockNotFound for a free one: inspect()', async () => {
    await using fixture = await open();
    const [holder, reader] = [fixture.createLocker({ value: 'http://10.0.0.7:8080' }), fixture.createLocker()];

    expect(await reader.inspect('master')).toMatchObject({ held: false, holders: [] });
    const lock = await holder.lock('master');
    const { holders } = await reader.inspect('master');
    await lock.release();

    expect(holders[0]).toMatchObject({ value: 'http://10.0.0.7:8080', fencingToken: lock.fencingToken });
    await expectFree(reader, 'master');
  });

  test('Watch() reports the current value first, then each change, until quit: watch() and its signal', async () => {
    await using fixture = await open();
    const [holder, watcher] = [fixture.createLocker(), fixture.createLocker()];
    const quit = new AbortController();
    const lock = await holder.lock('master', { value: 'first' });
    const seen: string[] = [];

    for await (const { holders } of watcher.watch('master', { signal: quit.signal })) {
      seen.push(holders[0]?.value ?? '');
      if (seen.length === 1) await lock.setValue('second');
      if (seen.length === 2) await lock.release();
      if (seen.length === 3) quit.abort();
    }

    expect(seen).toEqual(['first', 'second', '']);
  });

  test('the second of two clients gets the lock when the first quits: close()', async () => {
    await using fixture = await open();
    const [one, other, third] = [fixture.createLocker(), fixture.createLocker(), fixture.createLocker()];
    const first = await one.lock('master');
    const second = follow(other.lock('master'));
    await fixture.until(async () => {
      expect(await fixture.entries('master')).toHaveLength(2);
    });
    const last = follow(third.lock('master'));

    await one.close();
    const lock = await second.promise;

    await expectHolder(third, lock);
    expect(lock.fencingToken).toBeGreaterThan(first.fencingToken);
    expect(last.isSettled).toBe(false);
    await lock.release();
    await expectHolder(other, await last.promise);
  });

  test('the owner is notified when the ownership changes: lock.signal', async () => {
    await using fixture = await open();
    const lock = await fixture.createLocker({ ttlMs: 2_000 }).lock('master');
    const aborted = once(lock.signal, 'abort');

    await fixture.deleteKey(lock.key);
    await aborted;

    expect(lock.signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'deleted' });
    expect(lock.held).toBe(false);
  });

  test('guard works unchanged in a transaction of the etcd3 client', async () => {
    await using fixture = await open();
    const client = new Etcd3({ hosts: inject('etcdEndpoints') });
    const total = `${fixture.prefix}total`;
    const locker = fixture.createLocker();
    const add = async (lock: Lock, value: string) =>
      (
        await client
          .if(...lock.guard)
          .then(client.put(total).value(value))
          .commit()
      ).succeeded;
    const lock = await locker.lock('master');

    const whileHeld = await add(lock, '1');
    await lock.release();
    const afterwards = await add(lock, '2');
    const left = await client.get(total).string();
    await client.delete().key(total);
    client.close();

    expect([whileHeld, afterwards, left]).toEqual([true, false, '1']);
  });
});
