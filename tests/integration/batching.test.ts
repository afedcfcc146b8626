/** Tests that many commits at once share requests, and that each lock still gets its own result. */
import { Etcd3 } from 'etcd3';
import { createLocker, EtcdAuthError, type Lock } from 'etcd-locker';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { enableAuth, expectEmpty, root as asRoot, simpleTokens } from '../support/etcd/auth.ts';
import { openStage, timed, type Stage } from '../support/fixtures/etcd-stage.ts';

const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `n${String(index)}`);

async function releaseAll(locks: readonly Lock[]): Promise<void> {
  await Promise.all(locks.map((lock) => lock.release()));
}

async function countTransactions(server: EtcdServer): Promise<number> {
  const counts = (await server.metrics()).matchAll(/^grpc_server_handled_total\{.*grpc_method="Txn".*\} (\S+)$/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** Since 3.4.42, 3.5.28 and 3.6.9, etcd checks the permissions of nested transactions (CVE-2026-33343). */
function checksNestedPermissions(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number);
  const since = new Map([
    [4, 42],
    [5, 28],
    [6, 9],
  ]);
  return major > 3 || minor > 6 || patch >= (since.get(minor) ?? Infinity);
}

describe.skipIf(!(await canControlServers()))('many commits at once', () => {
  describe('on an etcd with default settings', () => {
    let stage: Stage<EtcdServer>;
    beforeAll(async () => {
      stage = await openStage();
    });
    afterEach(() => stage.clear());
    afterAll(() => stage[Symbol.asyncDispose]());

    test('share requests: 256 locks and releases of different names take at most 16 requests', async () => {
      const locker = stage.createLocker({ ttlMs: 600_000 });
      await locker.withLock('warm', () => undefined);
      const before = await countTransactions(stage.server);

      const locks = await Promise.all(names(256).map((name) => locker.lock(name)));
      await releaseAll(locks);

      expect((await countTransactions(stage.server)) - before).toBeLessThanOrEqual(16);
    });

    test('give each name its own holder and token', async () => {
      const locker = stage.createLocker();

      const locks = await Promise.all(names(200).map((name) => locker.lock(name, { value: `of ${name}` })));

      for (const lock of locks) {
        const { holders } = await locker.inspect(lock.name);
        expect(holders).toMatchObject([{ key: lock.key, value: `of ${lock.name}`, fencingToken: lock.fencingToken }]);
      }
      expect(new Set(locks.map(({ key }) => key)).size).toBe(200);
      await releaseAll(locks);
    });
  });

  test('respect a low --max-txn-ops', async () => {
    await using server = await startEtcd({ args: ['--max-txn-ops', '16'] });
    await using locker = createLocker({ hosts: server.endpoint });
    const runRound = async (): Promise<number> => {
      const before = await countTransactions(server);
      const locks = await Promise.all(names(150).map((name) => locker.lock(name)));
      expect(locks.every(({ held }) => held)).toBe(true);
      await releaseAll(locks);
      return (await countTransactions(server)) - before;
    };

    await runRound();
    const requests = await runRound();

    // The first round has found the limit. Now no request is refused, and requests are still shared.
    expect(requests).toBeLessThanOrEqual(100);
    expect(requests).toBeGreaterThan(16);
  });

  test('tryLockAll() of more names than --max-txn-ops allows rejects, and locks none', async () => {
    await using server = await startEtcd({ args: ['--max-txn-ops', '16'] });
    await using locker = createLocker({ hosts: server.endpoint });

    await expect(locker.tryLockAll(names(20))).rejects.toMatchObject({
      code: 'ETCD_REFUSED',
      message:
        'Cannot use etcd: it refused the request: 20 names at once are more than its --max-txn-ops allows; lockAll() takes any number',
    });

    await using all = await locker.lockAll(names(20), { timeoutMs: 10_000 });
    expect(all.held).toBe(true);
  });

  // etcd itself refuses the smaller request, gRPC the larger one.
  test.each([10, 20])('tryLockAll() of %i names rejects at once when --max-request-bytes is too low for their values', async (count) => {
    await using server = await startEtcd({ args: ['--max-request-bytes', String(256 * 1024)] });
    await using locker = createLocker({ hosts: server.endpoint });
    await using other = await locker.lock('other');
    const options = { value: 'x'.repeat(64 * 1024) };

    const { error, ms } = await timed(locker.tryLockAll(names(count), options));

    expect(error).toMatchObject({
      code: 'ETCD_REFUSED',
      message: `Cannot use etcd: it refused the request: ${String(count)} names at once are more than its --max-request-bytes allows; lockAll() takes any number`,
    });
    expect(ms).toBeLessThan(2_000);
    expect(other.held).toBe(true);
    await using all = await locker.lockAll(names(count), { ...options, timeoutMs: 10_000 });
    expect(all.held).toBe(true);
  });

  describe('on an etcd with auth enabled', () => {
    let server: EtcdServer;
    let root: Etcd3;
    const auth = { username: 'locker', password: 'sesame-9431' };
    beforeAll(async () => {
      server = await startEtcd({ args: simpleTokens() });
      // All names under the prefix except n250.
      const rights = [
        { from: 'locks/', to: 'locks/n250/' },
        { from: 'locks/n2500', to: 'locks0' },
      ];
      await enableAuth({ hosts: server.endpoint }, [{ ...auth, rights }]);
      root = new Etcd3({ hosts: server.endpoint, auth: asRoot });
    });
    afterAll(async () => {
      await expectEmpty(root);
      root.close();
      await server.stop();
    });

    test('reject only the one lock of 500 that etcd forbids, on every version of etcd', async () => {
      await using locker = createLocker({ hosts: server.endpoint, auth });
      await locker.withLock('warm', () => undefined);
      const before = await countTransactions(server);

      const results = await Promise.allSettled(names(500).map((name) => locker.lock(name)));

      const requests = (await countTransactions(server)) - before;
      if (checksNestedPermissions(server.version)) expect(requests).toBeLessThan(150);
      else expect(requests).toBeGreaterThanOrEqual(500);

      const refused = results.flatMap((result, index) =>
        result.status === 'rejected' ? [{ index, reason: result.reason as unknown }] : [],
      );
      expect(refused.map(({ index }) => index)).toEqual([250]);
      expect(refused[0]?.reason).toBeInstanceOf(EtcdAuthError);
      expect(await root.getAll().prefix('locks/n250/').keys()).toEqual([]);
      await releaseAll(results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])));
    });
  });
});
