import { Etcd3 } from 'etcd3';
import { createLocker, EtcdAuthError, type Lock } from 'etcd-locker';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { canControlServers, startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { enableAuth, expectEmpty, root as asRoot, simpleTokens } from '../support/etcd/auth.ts';
import { openStage, type Stage } from '../support/fixtures/etcd-stage.ts';

const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `n${String(index)}`);

async function releaseAll(locks: readonly Lock[]): Promise<void> {
  await Promise.all(locks.map((lock) => lock.release()));
}

async function transactionsAt(server: EtcdServer): Promise<number> {
  const counts = (await server.metrics()).matchAll(/^grpc_server_handled_total\{.*grpc_method="Txn".*\} (\S+)$/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** As of 3.4.42, 3.5.28 and 3.6.9 (CVE-2026-33343). */
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
  describe('on an etcd with its defaults', () => {
    let stage: Stage<EtcdServer>;
    beforeAll(async () => {
      stage = await openStage();
    });
    afterEach(() => stage.clear());
    afterAll(() => stage[Symbol.asyncDispose]());

    test('share requests: 256 locks and releases of different names take at most 16', async () => {
      const locker = stage.createLocker({ ttlMs: 600_000 });
      await locker.withLock('warm', () => undefined);
      const before = await transactionsAt(stage.server);

      const locks = await Promise.all(names(256).map((name) => locker.lock(name)));
      await releaseAll(locks);

      expect((await transactionsAt(stage.server)) - before).toBeLessThanOrEqual(16);
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

  test('fit a server that takes few operations in a transaction', async () => {
    await using server = await startEtcd({ args: ['--max-txn-ops', '16'] });
    await using locker = createLocker({ hosts: server.endpoint });
    const turn = async (): Promise<number> => {
      const before = await transactionsAt(server);
      const locks = await Promise.all(names(150).map((name) => locker.lock(name)));
      expect(locks.every(({ held }) => held)).toBe(true);
      await releaseAll(locks);
      return (await transactionsAt(server)) - before;
    };

    await turn();
    const settled = await turn();

    // Once the locker knows the server's limit, etcd refuses nothing, and commits still share requests.
    expect(settled).toBeLessThanOrEqual(100);
    expect(settled).toBeGreaterThan(16);
  });

  test('tryLockAll() rejects, and takes no lock, if the server takes fewer names in a transaction', async () => {
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

  describe('on an etcd with auth on', () => {
    let server: EtcdServer;
    let root: Etcd3;
    const auth = { username: 'locker', password: 'sesame-9431' };
    beforeAll(async () => {
      server = await startEtcd({ args: simpleTokens() });
      // All names below the prefix except n250.
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

    test('fail alone: of 500 locks at once only the one that etcd forbids, whether or not it checks inside a batch', async () => {
      await using locker = createLocker({ hosts: server.endpoint, auth });
      await locker.withLock('warm', () => undefined);
      const before = await transactionsAt(server);

      const results = await Promise.allSettled(names(500).map((name) => locker.lock(name)));

      const requests = (await transactionsAt(server)) - before;
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
