/** Tests connections that lead nowhere: in the making, and open ones that no longer pass anything. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker, type Locker } from 'etcd-locker';
import { webLocks } from 'etcd-locker/web-locks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTcpProxy, type EtcdServer, type TcpProxy } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { deafHost } from '../support/network/deaf-host.ts';
import { eventually, openStage, stageOn, timed, type Stage } from '../support/fixtures/etcd-stage.ts';
import { startWorker } from '../support/run/processes.ts';

let shared: Stage<EtcdServer>;
beforeAll(async () => {
  shared = await openStage();
  await shared.createLocker().inspect('loads etcd3');
});
afterAll(() => shared[Symbol.asyncDispose]());

interface Proxied extends AsyncDisposable {
  readonly stage: Stage<EtcdServer>;
  readonly proxy: TcpProxy;
}

/** Opens a stage with a prefix and a proxy of its own, because the tests mostly wait, and so run side by side. */
async function openProxied(): Promise<Proxied> {
  const stage = stageOn(shared.server, true);
  const proxy = await startTcpProxy(shared.server.endpoint);
  return {
    stage,
    proxy,
    async [Symbol.asyncDispose]() {
      proxy.resume();
      await stage.clear();
      await proxy.close();
    },
  };
}

describe('a connection in the making that leads nowhere', { concurrent: true }, () => {
  test('costs the first lock() half of requestTimeoutMs, and is closed', async () => {
    await using proxied = await openProxied();
    const { stage, proxy } = proxied;
    proxy.strandNext(1);
    const locker = stage.createLocker({ hosts: proxy.endpoint });

    const { value: lock, ms } = await timed(locker.lock('x'));

    expect(lock?.held).toBe(true);
    expect(ms).toBeLessThan(4_000);
    expect(proxy).toMatchObject({ accepted: 2, openClients: 1 });
  });

  test('costs no held lock', async () => {
    await using proxied = await openProxied();
    const { stage, proxy } = proxied;
    const ttlMs = 6_000;
    const locker = stage.createLocker({ hosts: proxy.endpoint, ttlMs, requestTimeoutMs: 3_000 });
    const lock = await locker.lock('x');
    await proxy.cut();
    proxy.strandNext(1);
    await proxy.restore();

    await sleep(ttlMs + 500);

    expect(proxy.accepted).toBeGreaterThan(2);
    expect(lock).toMatchObject({ held: true });
  });

  test('delays the wake-up of a waiter by a try', async () => {
    await using proxied = await openProxied();
    const { stage, proxy } = proxied;
    // With this TTL, neither a beat nor a slow look comes in time.
    const ttlMs = 60_000;
    const lock = await stage.createLocker({ ttlMs }).lock('x');
    const waiting = follow(stage.createLocker({ hosts: proxy.endpoint, ttlMs, requestTimeoutMs: 2_000 }).lock('x'));
    await stage.queued('x', 2);
    await sleep(200);
    await proxy.cut();
    proxy.strandNext(1);
    await proxy.restore();
    await sleep(500);
    await lock.release();

    const { value, ms } = await timed(waiting.promise);

    expect(value?.held).toBe(true);
    expect(ms).toBeLessThan(4_000);
  });

  test('is not given up by a call with a short limit', async () => {
    await using proxied = await openProxied();
    const { stage, proxy } = proxied;
    proxy.hang();
    const locker = stage.createLocker({ hosts: proxy.endpoint });
    const locking = follow(locker.lock('x'));
    const tries = await Promise.allSettled([10, 50, 100].map((timeoutMs) => locker.tryLock('y', { timeoutMs })));
    await sleep(1_000);
    proxy.resume();

    await expect(locking.promise).resolves.toMatchObject({ held: true });
    expect(tries.filter(({ status, value }: { status: string; value?: unknown }) => status === 'fulfilled' && value !== null)).toEqual([]);
    expect(proxy.accepted).toBe(1);
  });
});

const uses: Record<string, (locker: Locker, stage: Stage<EtcdServer>) => Promise<() => Promise<unknown>>> = {
  'lock()': async (locker) => {
    await locker.lock('k');
    return () => locker.lock('n');
  },
  'lock() in a new session': async (locker) => {
    await locker.inspect('k');
    return () => locker.lock('n');
  },
  'lock() of a taken name, which its holder then releases': async (locker, stage) => {
    const first = await stage.createLocker().lock('n');
    await locker.lock('k');
    setTimeout(() => void first.release(), 100);
    return () => locker.lock('n');
  },
  'tryLock()': async (locker) => {
    await locker.lock('k');
    return () => locker.tryLock('n');
  },
  'tryLockAll()': async (locker) => {
    await locker.lock('k');
    return () => locker.tryLockAll(['n', 'o']);
  },
  'lockAll()': async (locker) => {
    await locker.lock('k');
    return () => locker.lockAll(['n', 'o']);
  },
  'lock() of a shared lock': async (locker) => {
    await locker.lock('k', { mode: 'shared' });
    return () => locker.lock('n', { mode: 'shared' });
  },
  'a request of Web Locks': async (locker) => {
    const locks = webLocks(locker);
    await locks.request('k', () => undefined);
    return () => locks.request('n', (lock) => lock?.name);
  },
  'a hand-over to the next caller of the process': async (locker) => {
    const first = await locker.lock('n');
    const next = locker.lock('n');
    return async () => {
      await first.release();
      return next;
    };
  },
  'inspect()': async (locker) => {
    await locker.lock('k');
    return () => locker.inspect('k');
  },
  'setValue()': async (locker) => {
    const lock = await locker.lock('k');
    return async () => {
      await lock.setValue('v');
      return true;
    };
  },
  'release()': async (locker) => {
    const lock = await locker.lock('k');
    return async () => {
      await lock.release();
      return true;
    };
  },
  'watch()': async (locker) => {
    await locker.lock('k');
    return async () => {
      for await (const state of locker.watch('k')) return state;
      return undefined;
    };
  },
};

describe('an open connection that swallows everything', { concurrent: true }, () => {
  const timeouts: (readonly [use: string, requestTimeoutMs: number])[] = [['lock()', 5_000]];
  for (const use of Object.keys(uses)) timeouts.push([use, 2_000]);

  test.each(timeouts)('costs %s one try if requestTimeoutMs is %i', async (use, requestTimeoutMs) => {
    await using proxied = await openProxied();
    const { stage, proxy } = proxied;
    const locker = stage.createLocker({ hosts: proxy.endpoint, requestTimeoutMs });
    const call = await uses[use]?.(locker, stage);
    proxy.strand();

    const { value, ms } = await timed(call?.() ?? Promise.reject(new Error('no call')));

    expect(value).toBeTruthy();
    // A try is half of requestTimeoutMs at a single host.
    expect(ms).toBeLessThan(0.9 * requestTimeoutMs);
  });

  test('delays the wake-up of a waiter by two tries', async () => {
    await using proxied = await openProxied();
    const { stage, proxy } = proxied;
    const ttlMs = 60_000;
    const lock = await stage.createLocker({ ttlMs }).lock('x');
    const waiting = follow(stage.createLocker({ hosts: proxy.endpoint, ttlMs, requestTimeoutMs: 2_000 }).lock('x'));
    await stage.queued('x', 2);
    await sleep(200);
    proxy.strand();
    await lock.release();

    const { value, ms } = await timed(waiting.promise);

    expect(value?.held).toBe(true);
    // The watch is quiet for half of requestTimeoutMs, then its ping has a try.
    expect(ms).toBeLessThan(4_000);
  });

  test('is left by many short calls', async () => {
    await using proxied = await openProxied();
    const { stage, proxy } = proxied;
    const locker = stage.createLocker({ hosts: proxy.endpoint });
    await locker.lock('k');
    proxy.strand();

    await eventually(async () => {
      expect(await locker.tryLock('n', { timeoutMs: 100 })).toBeTruthy();
    }, 8_000);
  });
});

test.concurrent('a connection that grpc-js closes for idleness is made again, to an address and to a name', async () => {
  await using proxied = await openProxied();
  const { stage, proxy } = proxied;
  const addresses = [proxy.endpoint, proxy.endpoint.replace('127.0.0.1', 'localhost')];
  const lockers = addresses.map((hosts) => stage.createLocker({ hosts, grpcOptions: { 'grpc.client_idle_timeout_ms': 1_000 } }));
  const readAll = () => Promise.all(lockers.map((locker) => locker.inspect('x')));
  await readAll();
  // grpc-js looks for unused connections every 10 s.
  await eventually(() => {
    expect(proxy.openClients).toBe(0);
  }, 15_000);

  await expect(readAll()).resolves.toHaveLength(2);
  expect(proxy.openClients).toBe(2);
});

describe('close()', { concurrent: true }, () => {
  test.each([
    ['in the making', '', true],
    ['in the making of TLS', 'https://', true],
    ['that swallows everything', '', false],
  ])('closes a connection %s', async (_, tls, isInTheMaking) => {
    await using proxied = await openProxied();
    const { stage, proxy } = proxied;
    if (isInTheMaking) proxy.strandNext();
    const lockers = Array.from({ length: 3 }, () =>
      createLocker({ hosts: `${tls}${proxy.endpoint}`, prefix: stage.prefix, requestTimeoutMs: 500 }),
    );
    const calls = lockers.map((locker) => follow(locker.inspect('x')));
    if (isInTheMaking) await sleep(200);
    else await Promise.all(calls.map(({ promise }) => promise));
    proxy.strand();
    expect(proxy.openClients).toBe(3);

    await Promise.all(lockers.map((locker) => locker.close()));
    await sleep(100);

    expect(proxy).toMatchObject({ accepted: 3, openClients: 0 });
    expect(calls.every(({ isSettled }) => isSettled)).toBe(true);
  });

  test('begins no connection afterwards to a host that is back', async () => {
    await using proxied = await openProxied();
    const { proxy } = proxied;
    await proxy.cut();
    const lockers = Array.from({ length: 10 }, () => createLocker({ hosts: proxy.endpoint, requestTimeoutMs: 1_000 }));
    const calls = lockers.map((locker) => follow(locker.inspect('x')));
    await sleep(300);

    const closing = Promise.all(lockers.map((locker) => locker.close()));
    await proxy.restore();
    await closing;
    await sleep(700);

    expect(proxy.openClients).toBe(0);
    expect(calls.every(({ isSettled }) => isSettled)).toBe(true);
  });

  test.each(['', 'https://'])('lets a process end at once while its connection to %shost is in the making', async (tls) => {
    await using proxied = await openProxied();
    const { stage, proxy } = proxied;
    proxy.strandNext();
    await using worker = startWorker('end.ts', {
      hosts: `${tls}${proxy.endpoint}`,
      prefix: stage.prefix,
      name: 'x',
      ttlMs: 2_000,
      requestTimeoutMs: 1_000,
      scenario: 'closed while it connects',
    });
    const { resources } = await worker.reached('closed');

    expect(resources).not.toEqual(expect.arrayContaining([expect.stringMatching(/^(Timeout|TCP)/)]));
    expect(await worker.ended).toMatchObject({ code: 0, signal: null });
  });

  // Alone, because it counts the connections of this process.
  test.skipIf(process.platform !== 'linux')('closes a connection whose first packet got no answer', { concurrent: false }, async () => {
    await using host = await deafHost();
    const connecting = () => process.getActiveResourcesInfo().filter((resource) => resource === 'ConnectWrap').length;
    const before = connecting();
    const locker = createLocker({ hosts: host.endpoint, requestTimeoutMs: 1_000 });
    const call = follow(locker.inspect('x'));
    await eventually(() => {
      expect(connecting()).toBe(before + 1);
    });

    await locker.close();
    await sleep(100);

    expect(call.error).toMatchObject({ code: 'LOCKER_CLOSED' });
    expect(connecting()).toBe(before);
  });
});
