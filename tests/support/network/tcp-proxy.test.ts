/** Tests that the TCP proxy withholds and delays data, and cuts connections. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freePorts } from './ports.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

let server: Server;
let proxy: TcpProxy;
let client: Client;
let receivedByServer: string;
let openAtServer: Set<Socket>;

beforeEach(async () => {
  const [port = 0] = await freePorts(1);
  receivedByServer = '';
  const open = new Set<Socket>();
  openAtServer = open;
  server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      receivedByServer += chunk.toString();
      socket.write(`${chunk.toString()}!`);
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  proxy = await startTcpProxy(`127.0.0.1:${String(port)}`);
  client = await dial(proxy.endpoint);
});

afterEach(async () => {
  client.socket.destroy();
  await proxy.close();
  server.close();
});

test('startTcpProxy() forwards data in both directions', async () => {
  client.socket.write('a');

  await expect.poll(() => client.seen).toBe('a!');
});

test('hang() withholds all data, and resume() delivers it in order', async () => {
  proxy.hang();
  client.socket.write('a');
  await sleep(20);
  client.socket.write('b');
  await sleep(50);
  expect(receivedByServer).toBe('');

  proxy.resume();

  await expect.poll(() => client.seen).toMatch(/^a!?b!$/);
});

test('hangRequests() withholds the data of the client only', async () => {
  client.socket.write('a');
  await expect.poll(() => client.seen).toBe('a!');
  proxy.hangRequests();
  client.socket.write('b');
  for (const socket of openAtServer) socket.write('news');
  await expect.poll(() => client.seen).toBe('a!news');
  expect(receivedByServer).toBe('a');

  proxy.resume();

  await expect.poll(() => client.seen).toBe('a!newsb!');
});

test('hang() affects only the selected connections', async () => {
  const other = await dial(proxy.endpoint);
  client.socket.write('mine');
  other.socket.write('other');
  await expect.poll(() => [client.seen, other.seen]).toEqual(['mine!', 'other!']);

  proxy.hang((opening) => opening.startsWith('mine'));
  client.socket.write('a');
  other.socket.write('b');

  await expect.poll(() => other.seen).toBe('other!b!');
  expect(client.seen).toBe('mine!');
  proxy.resume();
  await expect.poll(() => client.seen).toBe('mine!a!');
  other.socket.destroy();
});

test('hangResponses() withholds the data of the server only', async () => {
  proxy.hangResponses();
  client.socket.write('a');
  await expect.poll(() => receivedByServer).toBe('a');
  await sleep(50);
  expect(client.seen).toBe('');

  proxy.resume();

  await expect.poll(() => client.seen).toBe('a!');
});

test('hang() accepts new connections and withholds their data', async () => {
  proxy.hang();
  const late = await dial(proxy.endpoint);
  late.socket.write('a');
  await sleep(50);
  expect(late.seen).toBe('');

  proxy.resume();

  await expect.poll(() => late.seen).toBe('a!');
  late.socket.destroy();
});

test('cut() resets connections and refuses new ones until restore()', async () => {
  await proxy.cut();
  await expect.poll(() => client.error).toBe('ECONNRESET');
  await expect(dial(proxy.endpoint)).rejects.toThrow('ECONNREFUSED');
  await proxy.restore();

  client = await dial(proxy.endpoint);
  client.socket.write('a');
  await expect.poll(() => client.seen).toBe('a!');
});

test('delay() delays each direction', async () => {
  proxy.delay(60);
  const from = performance.now();

  client.socket.write('a');
  await expect.poll(() => client.seen, { interval: 5 }).toBe('a!');

  expect(performance.now() - from).toBeGreaterThan(115);
});

test('startTcpProxy() forwards the end of a connection', async () => {
  await expect.poll(() => openAtServer.size).toBe(1);

  client.socket.end();

  await expect.poll(() => openAtServer.size).toBe(0);
});

interface Client {
  readonly socket: Socket;
  seen: string;
  error: string | undefined;
}

async function dial(endpoint: string): Promise<Client> {
  const [host = '', port] = endpoint.split(':');
  const socket = connect(Number(port), host);
  const dialled: Client = { socket, seen: '', error: undefined };
  await once(socket, 'connect');
  socket.on('data', (chunk) => (dialled.seen += chunk.toString()));
  socket.on('error', (error: NodeJS.ErrnoException) => (dialled.error = error.code));
  return dialled;
}
