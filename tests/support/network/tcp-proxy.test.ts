import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freePorts } from './ports.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

let server: Server;
let proxy: TcpProxy;
let client: Client;
let seenByServer: string;
let openAtServer: Set<Socket>;

beforeEach(async () => {
  const [port = 0] = await freePorts(1);
  seenByServer = '';
  const open = new Set<Socket>();
  openAtServer = open;
  server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      seenByServer += chunk.toString();
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

test('startTcpProxy() passes on what both sides say', async () => {
  client.socket.write('a');

  await expect.poll(() => client.seen).toBe('a!');
});

test('hang() holds everything back, and resume() delivers it in order', async () => {
  proxy.hang();
  client.socket.write('a');
  await sleep(20);
  client.socket.write('b');
  await sleep(50);
  expect(seenByServer).toBe('');

  proxy.resume();

  await expect.poll(() => client.seen).toMatch(/^a!?b!$/);
});

test('hangRequests() keeps from the server what the client says, and from the client nothing', async () => {
  client.socket.write('a');
  await expect.poll(() => client.seen).toBe('a!');
  proxy.hangRequests();
  client.socket.write('b');
  for (const socket of openAtServer) socket.write('news');
  await expect.poll(() => client.seen).toBe('a!news');
  expect(seenByServer).toBe('a');

  proxy.resume();

  await expect.poll(() => client.seen).toBe('a!newsb!');
});

test('hang() takes only the connections that it is told to', async () => {
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

test('hangAnswers() lets the client speak without an answer', async () => {
  proxy.hangAnswers();
  client.socket.write('a');
  await expect.poll(() => seenByServer).toBe('a');
  await sleep(50);
  expect(client.seen).toBe('');

  proxy.resume();

  await expect.poll(() => client.seen).toBe('a!');
});

test('hang() keeps new connections waiting', async () => {
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

test('delay() puts off each direction', async () => {
  proxy.delay(60);
  const from = performance.now();

  client.socket.write('a');
  await expect.poll(() => client.seen, { interval: 5 }).toBe('a!');

  expect(performance.now() - from).toBeGreaterThan(115);
});

test('startTcpProxy() passes on that a client hung up', async () => {
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
