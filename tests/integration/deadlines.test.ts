/** Tests that a call without a response in time does not end other calls on its connection. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { deferred } from '../../src/deferred.ts';
import { resolveLockerOptions } from '../../src/options/options.ts';
import { decodeRange, decodeWatch } from '../../src/store/etcd/wire/decode.ts';
import type { Stream } from '../../src/store/etcd/grpc-stream.ts';
import { methods } from '../../src/store/etcd/raw-client.ts';
import { Host } from '../../src/store/etcd/host.ts';
import { encodeRange, encodeWatch } from '../../src/store/etcd/wire/encode.ts';
import { startTcpProxy, type EtcdServer, type TcpProxy } from '../support/etcd/etcd.ts';
import { follow, type Followed } from '../support/fixtures/holding.ts';
import { openStage, type Stage } from '../support/fixtures/etcd-stage.ts';

/** etcd3 closes a connecting channel after this time. */
const etcd3CloseMs = 1_000;
const [shortMs, longMs] = [200, 8_000];

describe('a call without a response in time', () => {
  let stage: Stage<EtcdServer>;
  let proxy: TcpProxy;
  let host: Host;
  const hostAt = (endpoint: string) => new Host(`http://${endpoint}`, resolveLockerOptions({ hosts: endpoint }).etcd, longMs);
  beforeAll(async () => {
    stage = await openStage();
    // The first call loads etcd3, which takes longer than a short deadline.
    host = hostAt(stage.server.endpoint);
    await read(longMs);
    await host.close();
  });
  beforeEach(async () => {
    proxy = await startTcpProxy(stage.server.endpoint);
    host = hostAt(proxy.endpoint);
  });
  afterEach(async () => {
    proxy.resume();
    await host.close();
    await proxy.close();
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  const read = (timeoutMs: number): Promise<Buffer> => host.call(timeoutMs, methods.range, encodeRange({ key: 'x' }));

  /** Opens a watch and follows its first response. */
  async function openWatch(): Promise<{ readonly response: Followed<Buffer>; readonly stream: Stream }> {
    const response = deferred<Buffer>();
    const stream = await host.stream(longMs, methods.watch, { message: response.resolve, ended: response.reject });
    stream.write(encodeWatch({ key: 'x', deletesOnly: true }, 1));
    return { response: follow(response.promise), stream };
  }

  test.each([
    ['while its host connects', false, shortMs + etcd3CloseMs + 300],
    ['on an open connection', true, 2 * shortMs],
  ])('%s ends no other call and no watch', async (_, isConnected, waitMs) => {
    if (isConnected) await read(longMs);
    proxy.hang();
    const [expired, pending] = [follow(read(shortMs)), follow(read(longMs))];
    const watch = await openWatch();

    // By then, etcd3 would have closed the channel.
    await sleep(waitMs);
    expect(expired.error).toMatchObject({ code: 4 });
    expect([pending.isSettled, watch.response.isSettled]).toEqual([false, false]);
    proxy.resume();

    expect(decodeRange(await pending.promise).kvs).toEqual([]);
    expect(decodeWatch(await watch.response.promise)).toMatchObject({ created: true });
    watch.stream.end();
  });
});

test('holders and waiters at the only host keep their entries when its connections silently drop all data', async () => {
  await using stage = await openStage();
  await using proxy = await startTcpProxy(stage.server.endpoint);
  const options = { hosts: proxy.endpoint, ttlMs: 4_000, requestTimeoutMs: 2_000 };
  // If lockers shared a connection, each of them would keep the broken one open for the others.
  const lockers = Array.from({ length: 10 }, () => stage.createLocker(options));
  const locks = await Promise.all(lockers.map((locker, n) => locker.lock(String(n))));
  const waiting = follow(stage.createLocker(options).lock('0'));
  await stage.queued('0', 2);

  proxy.strand();
  await sleep(5_000);

  expect(locks.map(({ held, signal }) => held && !signal.aborted)).toEqual(locks.map(() => true));
  expect(waiting.isSettled).toBe(false);
  await Promise.all(locks.map((lock) => lock.release()));
  await expect(waiting.promise).resolves.toMatchObject({ held: true });
  await stage.clear();
});
