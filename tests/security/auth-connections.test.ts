/** Tests the connections and the token requests of a locker with a user and a password. */
import { once } from 'node:events';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Etcd3 } from 'etcd3';
import { createLocker } from 'etcd-locker';
import { expect, test } from 'vitest';
import { canControlServers, startEtcd, startTcpProxy } from '../support/etcd/etcd.ts';
import { enableAuth, root as auth, simpleTokens } from '../support/etcd/auth.ts';
import { eventually } from '../support/fixtures/etcd-stage.ts';

test.skipIf(!(await canControlServers()))('a locker keeps one connection to a host through any number of tokens', async () => {
  await using server = await startEtcd({ args: simpleTokens() });
  await enableAuth({ hosts: server.endpoint });
  const anonymous = new Etcd3({ hosts: server.endpoint });
  const root = new Etcd3({ hosts: server.endpoint, auth });
  await using proxy = await startTcpProxy(server.endpoint);
  const locker = createLocker({ hosts: proxy.endpoint, auth, ttlMs: 60_000 });
  const lock = await locker.lock('held');
  const connections = [];

  for (let token = 0; token < 10; token += 1) {
    // etcd forgets all tokens when auth is switched off and on.
    await root.auth.authDisable();
    await anonymous.auth.authEnable();
    await locker.withLock('x', () => undefined);
    connections.push(proxy.connections);
  }

  expect(connections).toEqual(connections.map(() => 1));
  expect(lock.held).toBe(true);
  await locker.close();
  await eventually(() => {
    expect(proxy.connections).toBe(0);
  });
  for (const client of [anonymous, root]) client.close();
});

test('a locker requests its token with its grpcOptions', async () => {
  const requests: (string | undefined)[][] = [];
  // A gRPC server that only refuses passwords.
  await using server = createServer().listen(0, '127.0.0.1');
  server.on('stream', (stream, headers) => {
    requests.push([headers[':path'], headers['user-agent']]);
    const refusal = { 'grpc-status': '3', 'grpc-message': 'etcdserver: authentication failed, invalid user ID or password' };
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...refusal }, { endStream: true });
  });
  await once(server, 'listening');
  const hosts = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  await using locker = createLocker({ hosts, auth, grpcOptions: { 'grpc.primary_user_agent': 'orders/1.0' } });

  await expect(locker.inspect('x')).rejects.toMatchObject({ code: 'ETCD_AUTH' });

  expect(requests).toEqual([['/etcdserverpb.Auth/Authenticate', expect.stringMatching(/^orders\/1\.0 /)]]);
  await locker.close();
});
