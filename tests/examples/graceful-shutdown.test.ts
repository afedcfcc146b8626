/** Tests examples/graceful-shutdown.ts: a real process, requests that hold and wait, and SIGTERM. */
import { fileURLToPath } from 'node:url';
import { createLocker } from 'etcd-locker';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePorts, startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { eventually } from '../support/fixtures/etcd-stage.ts';
import { follow } from '../support/fixtures/holding.ts';
import { TestProcess } from '../support/run/processes.ts';

const example = fileURLToPath(new URL('../../examples/graceful-shutdown.ts', import.meta.url));

let server: EtcdServer;
beforeAll(async () => {
  server = await startEtcd();
});
afterAll(() => server.stop());

/** Starts the service. The returned function sends a request, and resolves with the status and the text of the response. */
async function startService(env: Readonly<Record<string, string>> = {}) {
  const [port] = await freePorts(1);
  const service = new TestProcess(process.execPath, [example], {
    ...process.env,
    ETCD_ENDPOINTS: server.endpoints.join(','),
    PORT: String(port),
    ...env,
  });
  await service.reached('listening');
  const request = async (path: string): Promise<{ status: number; text: string; ms: number }> => {
    const startedAt = performance.now();
    const response = await fetch(`http://127.0.0.1:${String(port)}${path}`);
    return { status: response.status, text: await response.text(), ms: performance.now() - startedAt };
  };
  return { service, request };
}

describe('examples/graceful-shutdown.ts', { concurrent: true }, () => {
  test('SIGTERM answers waiters with 503, lets holders finish, and releases nothing under a running handler', async () => {
    await using observer = createLocker({ hosts: server.endpoints });
    const { service, request } = await startService();
    await using running = service;
    const holding = ['/a', '/b'].map((path) => follow(request(`${path}?ms=3000`)));
    await Promise.all([running.reached('begins /a'), running.reached('begins /b')]);
    const waiting = ['/a', '/a', '/b'].map((path) => request(path));
    // The waiters of a process share a place in the queue.
    await eventually(async () => {
      expect(await observer.inspect('orders/a')).toMatchObject({ held: true });
    });
    await new Promise((resolve) => setTimeout(resolve, 300));

    running.signal('SIGTERM');
    const refused = await Promise.all(waiting);

    expect(refused).toMatchObject(waiting.map(() => ({ status: 503, text: 'LOCKER_CLOSED' })));
    expect(holding.map(({ isSettled }) => isSettled)).toEqual([false, false]);
    for (const name of ['orders/a', 'orders/b']) {
      expect(await observer.inspect(name)).toMatchObject({ held: true, holders: [{}], waiting: 0 });
    }
    const finished = await Promise.all(holding.map(({ promise }) => promise));
    expect(finished).toMatchObject([{ status: 200 }, { status: 200 }]);
    for (const { text } of finished) expect(text).toMatch(/^done with token \d+$/);
    expect(await running.ended).toEqual({ code: 0, signal: null, stderr: '' });
    expect(running.steps.at(-1)).toEqual({ step: 'closed' });
    const left = [await observer.inspect('orders/a'), await observer.inspect('orders/b')];
    expect(left).toMatchObject([{ held: false }, { held: false }]);
  });

  test('a handler that takes longer than drainMs loses its lock, hears of it, and answers', async () => {
    const { service, request } = await startService({ DRAIN_MS: '500' });
    await using running = service;
    const holding = request('/slow?ms=60000');
    await running.reached('begins /slow');

    running.signal('SIGTERM');

    expect(await holding).toMatchObject({ status: 503, text: 'LOCK_LOST' });
    expect(await running.ended).toEqual({ code: 0, signal: null, stderr: '' });
  });
});
