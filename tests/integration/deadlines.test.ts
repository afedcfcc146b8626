import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rangeIn } from '../../src/store/etcd/answers.ts';
import { methods } from '../../src/store/etcd/client.ts';
import { Host } from '../../src/store/etcd/host.ts';
import { rangeRequest } from '../../src/store/etcd/requests.ts';
import { startEtcd, startTcpProxy, type EtcdServer } from '../support/etcd.ts';

let server: EtcdServer;

beforeAll(async () => {
  server = await startEtcd();
});
afterAll(() => server.stop());

test('Host.call() that runs out of time leaves alone those who still wait for the connection', async () => {
  await using proxy = await startTcpProxy((server.endpoints[0] ?? '').replace(/^https?:\/\//, ''));
  const host = new Host(`http://${proxy.endpoint}`, { hosts: [], credentials: undefined, auth: undefined, grpcOptions: {} }, 5_000);
  const request = rangeRequest({ key: 'x' });
  proxy.hang();

  const patient = host.call(5_000, methods.range, request);
  const hasty = host.call(300, methods.range, request);
  await expect(hasty).rejects.toMatchObject({ code: 4 });
  await sleep(50);
  proxy.resume();

  expect(rangeIn(await patient).kvs).toEqual([]);
  await host.close();
});
