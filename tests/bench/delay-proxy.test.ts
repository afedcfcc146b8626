/** Tests the delay proxy: it delays by the time that it says, and keeps the data and their order. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { startDelayProxy } from './delay-proxy/start.ts';
import { median } from './statistics.ts';

async function echoThrough(delayMs: number) {
  const echo = createServer((socket) => socket.on('error', () => undefined).pipe(socket)).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const proxy = await startDelayProxy([`127.0.0.1:${(echo.address() as AddressInfo).port}`], delayMs);
  const [host = '', port] = (proxy.endpoints[0] ?? '').split(':');
  const socket = connect({ host, port: Number(port) });
  await once(socket, 'connect');
  onTestFinished(async () => {
    socket.destroy();
    echo.close();
    await proxy[Symbol.asyncDispose]();
  });
  return { proxy, socket };
}

test.each([1, 5])('the proxy adds %i ms each way', async (delayMs) => {
  const { proxy } = await echoThrough(delayMs);
  await proxy.measure(20);

  const addedMs = median(await proxy.measure(100));

  // A quiet machine adds less than a tenth, a busy one some tenths.
  expect(addedMs).toBeGreaterThan(delayMs - 0.2);
  expect(addedMs).toBeLessThan(delayMs + 0.7);
});

test('the proxy delays each direction, and delivers all data in their order', async () => {
  const { socket } = await echoThrough(20);
  const sent = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index.toString(36)).join(' '));
  const received: Buffer[] = [];
  const sentAt = performance.now();
  let firstMs = 0;
  socket.on('data', (chunk) => {
    if (received.length === 0) firstMs = performance.now() - sentAt;
    received.push(chunk);
  });

  socket.end(sent);
  await once(socket, 'end');

  expect(firstMs).toBeGreaterThanOrEqual(39);
  expect(Buffer.concat(received).equals(sent)).toBe(true);
});
