/** Tests examples/http-endpoint: real requests to Fastify, a real payment service, disconnects, and a lock that is lost. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Locker } from 'etcd-locker';
import { Etcd3 } from 'etcd3';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createApp } from '../../examples/http-endpoint/app.ts';
import { type EtcdServer, startTcpProxy } from '../support/etcd/etcd.ts';
import { eventually, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { startExample } from '../support/run/examples.ts';

let stage: Stage<EtcdServer>;
let payments: Payments;

beforeAll(async () => {
  stage = await openStage();
});

afterAll(() => stage[Symbol.asyncDispose]());

beforeEach(async () => {
  payments = await startPayments();
});

afterEach(async () => {
  await payments[Symbol.asyncDispose]();
  await stage.clear();
});

/** A payment service that answers only when the test calls `answer()`. */
interface Payments extends AsyncDisposable {
  readonly url: string;
  readonly calls: { readonly token: bigint; readonly closed: Promise<unknown>; answer(status?: number): void }[];
}

async function startPayments(): Promise<Payments> {
  const calls: Payments['calls'] = [];
  const server = createServer((incoming: IncomingMessage, response: ServerResponse) => {
    calls.push({
      token: BigInt(String(incoming.headers['fencing-token'])),
      closed: once(response, 'close'),
      answer: (status = 200) => response.writeHead(status).end(),
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    calls,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Answer {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly body: Readonly<Record<string, unknown>>;
}

interface Endpoint extends AsyncDisposable {
  readonly url: string;
  pay(id: string): Promise<Answer>;
}

/** Starts the application of the example, as one of several processes. */
async function startEndpoint(locker: Locker = stage.createLocker()): Promise<Endpoint> {
  const app = createApp({ locker, paymentUrl: payments.url });
  const url = await app.listen({ port: 0, host: '127.0.0.1' });
  return {
    url,
    pay: (id) => payAt(url, id),
    [Symbol.asyncDispose]: () => app.close(),
  };
}

async function payAt(url: string, id: string): Promise<Answer> {
  const response = await fetch(`${url}/orders/${id}/pay`, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } });
  return {
    status: response.status,
    retryAfter: response.headers.get('retry-after'),
    body: (await response.json()) as Record<string, unknown>,
  };
}

const called = (count: number): Promise<void> =>
  eventually(() => {
    expect(payments.calls).toHaveLength(count);
  });

/** Sends a request until its payment begins, because the first request of a busy machine may find etcd too slow. */
async function beginPayment(pay: () => Promise<Answer>): Promise<{ readonly answer: Promise<Answer> }> {
  const already = payments.calls.length;
  let answer: Promise<Answer> | undefined;
  await eventually(async () => {
    answer ??= pay();
    if (await Promise.race([answer, sleep(20, undefined)])) answer = undefined;
    expect(payments.calls.length).toBeGreaterThan(already);
  });
  return { answer: answer ?? pay() };
}

test('requests for one order take turns, and each passes on its fencing token', async () => {
  await using one = await startEndpoint();
  await using other = await startEndpoint();
  const first = one.pay('1');
  await called(1);
  const second = other.pay('1');
  await stage.queued('orders/1', 2);

  expect(payments.calls).toHaveLength(1);
  payments.calls[0]?.answer();
  expect(await first).toMatchObject({ status: 200, body: { paid: '1' } });
  await called(2);
  payments.calls[1]?.answer();
  expect(await second).toMatchObject({ status: 200 });
  expect(payments.calls[1]?.token).toBeGreaterThan(payments.calls[0]?.token ?? 0n);
});

test('a request for a busy order answers 409 with Retry-After, and leaves the queue', async () => {
  await using one = await startEndpoint();
  await using other = await startEndpoint();
  const first = one.pay('2');
  await called(1);

  expect(await other.pay('2')).toMatchObject({ status: 409, retryAfter: '2', body: { code: 'LOCK_TIMEOUT' } });
  expect(await stage.etcd.entries('orders/2')).toHaveLength(1);
  payments.calls[0]?.answer();
  expect(await first).toMatchObject({ status: 200 });
  expect(payments.calls).toHaveLength(1);
});

test('a disconnect cancels the wait: the request leaves the queue and pays nothing', async () => {
  await using one = await startEndpoint();
  await using other = await startEndpoint();
  const first = one.pay('3');
  await called(1);
  const second = request(`${other.url}/orders/3/pay`, { method: 'POST', headers: { 'content-type': 'application/json' } });
  second.on('error', () => undefined);
  second.end('{}');
  await stage.queued('orders/3', 2);
  const leftAt = performance.now();
  second.destroy();
  await stage.queued('orders/3', 1);

  expect(performance.now() - leftAt).toBeLessThan(1_500); // well before timeoutMs
  payments.calls[0]?.answer();
  expect(await first).toMatchObject({ status: 200 });
  await stage.queued('orders/3', 0);
  expect(payments.calls).toHaveLength(1);
});

test('a disconnect does not cancel a payment that has begun', async () => {
  await using endpoint = await startEndpoint();
  const client = request(`${endpoint.url}/orders/4/pay`, { method: 'POST' });
  client.on('error', () => undefined);
  client.end();
  await called(1);
  client.destroy();
  let isClosed = false;
  void payments.calls[0]?.closed.then(() => (isClosed = true));
  await sleep(200);

  expect(isClosed).toBe(false);
  expect(await stage.etcd.entries('orders/4')).toHaveLength(1);
  payments.calls[0]?.answer();
  await stage.queued('orders/4', 0);
});

test('a lost lock aborts the payment and answers 503', async () => {
  await using endpoint = await startEndpoint(stage.createLocker({ ttlMs: 3_000 })); // notices the loss within a second
  const answer = endpoint.pay('5');
  await called(1);
  const client = new Etcd3({ hosts: [...stage.server.endpoints] });
  await client.delete().prefix(`${stage.prefix}orders%2F5/`);
  client.close();

  expect(await answer).toMatchObject({ status: 503, retryAfter: '5', body: { code: 'LOCK_LOST' } });
  await payments.calls[0]?.closed;
});

test('without etcd a request answers 503, and 200 once etcd is back', async () => {
  await using proxy = await startTcpProxy(stage.server.endpoint);
  const locker = stage.createLocker({ hosts: proxy.endpoint, requestTimeoutMs: 500 });
  await using endpoint = await startEndpoint(locker);
  await proxy.cut();

  expect(await endpoint.pay('6')).toMatchObject({ status: 503, retryAfter: '5', body: { code: 'ETCD_UNAVAILABLE' } });
  expect(payments.calls).toHaveLength(0);
  await proxy.restore();
  const { answer } = await beginPayment(() => endpoint.pay('6'));
  payments.calls[0]?.answer();
  expect(await answer).toMatchObject({ status: 200 });
  await locker.close();
});

test('an error of the payment service answers 500, and releases the lock', async () => {
  await using endpoint = await startEndpoint();
  const answer = endpoint.pay('7');
  await called(1);
  payments.calls[0]?.answer(402);

  expect(await answer).toMatchObject({ status: 500 });
  expect(await stage.etcd.entries('orders/7')).toHaveLength(0);
});

test('the server of the example ends at SIGTERM: a waiting request answers 503, and a payment ends', async () => {
  await using server = startExample('http-endpoint/server.ts', [], {
    ETCD_ENDPOINTS: stage.server.endpoints.join(','),
    PAYMENT_URL: payments.url,
    PORT: '0',
  });
  const locker = stage.createLocker({ prefix: 'locks/' }); // that of the server
  const lock = await locker.lock('orders/9');
  const { step } = await server.reached(/^listening at /);
  const url = step.replace('listening at ', '');
  const paying = await beginPayment(() => payAt(url, '8'));
  const waiting = payAt(url, '9');
  await eventually(async () => {
    expect(await locker.inspect('orders/9')).toMatchObject({ waiting: 1 });
  });
  server.signal('SIGTERM');

  expect(await waiting).toMatchObject({ status: 503, body: { code: 'LOCKER_CLOSED' } });
  payments.calls[0]?.answer();
  expect(await paying.answer).toMatchObject({ status: 200 });
  expect(await server.ended).toMatchObject({ code: 0 });
  expect(payments.calls).toHaveLength(1);
  lock.throwIfLost();
  await lock.release();
});
