import { once } from 'node:events';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Etcd3 } from 'etcd3';
import { createLocker } from 'etcd-locker';
import { expect, test } from 'vitest';
import { canControlServers, startEtcd, startTcpProxy } from '../support/etcd/etcd.ts';
import { enableAuth, root as auth, simpleTokens } from '../support/etcd/auth.ts';
import { eventually } from '../support/fixtures/etcd-stage.ts';

test.skipIf(!(await canControlServers()))('a locker keeps one connection to a host, however many tokens it needs', async () => {
  await using server = await startEtcd({ args: simpleTokens() });
  await enableAuth({ hosts: server.endpoint });
  const anybody = new Etcd3({ hosts: server.endpoint });
  const root = new Etcd3({ hosts: server.endpoint, auth });
  await using proxy = await startTcpProxy(server.endpoint);
  const locker = createLocker({ hosts: proxy.endpoint, auth, ttlMs: 60_000 });
  const lock = await locker.lock('held');
  const connections = [];

  for (let token = 0; token < 10; token += 1) {
    // etcd forgets all tokens when auth is switched off and on.
    await root.auth.authDisable();
    await anybody.auth.authEnable();
    await locker.withLock('x', () => undefined);
    connections.push(proxy.connections);
  }

  expect(connections).toEqual(connections.map(() => 1));
  expect(lock.held).toBe(true);
  await locker.close();
  await eventually(() => {
    expect(proxy.connections).toBe(0);
  });
  for (const client of [anybody, root]) client.close();
});

test('a locker requests its token with its own grpcOptions', async () => {
  const asked: (string | undefined)[][] = [];
  // As much of gRPC as a server needs to refuse a password.
  await using server = createServer().listen(0, '127.0.0.1');
  server.on('stream', (stream, headers) => {
    asked.push([headers[':path'], headers['user-agent']]);
    const refusal = { 'grpc-status': '3', 'grpc-message': 'etcdserver: authentication failed, invalid user ID or password' };
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...refusal }, { endStream: true });
  });
  await once(server, 'listening');
  const hosts = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  await using locker = createLocker({ hosts, auth, grpcOptions: { 'grpc.primary_user_agent': 'orders/1.0' } });

  await expect(locker.inspect('x')).rejects.toMatchObject({ code: 'ETCD_AUTH' });

  expect(asked).toEqual([['/etcdserverpb.Auth/Authenticate', expect.stringMatching(/^orders\/1\.0 /)]]);
  await locker.close();
});
