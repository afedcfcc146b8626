/** What a call that is not answered in time does to those beside it on the same channel. */
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

/** How long etcd3 lets a channel that connects go on, when it is to be closed. */
const etcd3WaitMs = 1_000;
const [shortMs, longMs] = [200, 8_000];

describe('a call that is not answered in time', () => {
  let stage: Stage<EtcdServer>;
  let proxy: TcpProxy;
  let host: Host;
  const hostAt = (endpoint: string) => new Host(`http://${endpoint}`, resolveLockerOptions({ hosts: endpoint }).etcd, longMs);
  beforeAll(async () => {
    stage = await openStage();
    // The first call of all loads etcd3, which takes longer than a short deadline.
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

  /** Resolves with the first answer to a watch. */
  async function watching(): Promise<{ readonly answer: Followed<Buffer>; readonly stream: Stream }> {
    const answer = deferred<Buffer>();
    const stream = await host.stream(longMs, methods.watch, { message: answer.resolve, ended: answer.reject });
    stream.write(encodeWatch({ key: 'x', deletesOnly: true }, 1));
    return { answer: follow(answer.promise), stream };
  }

  test.each([
    ['while the host is being connected to', false, shortMs + etcd3WaitMs + 300],
    ['on a connection that stands', true, 2 * shortMs],
  ])('%s cuts off neither another call nor a watch', async (_, isConnected, waitMs) => {
    if (isConnected) await read(longMs);
    proxy.hang();
    const [late, patient] = [follow(read(shortMs)), follow(read(longMs))];
    const watch = await watching();

    // Beyond it all that is cut off by etcd3 would be.
    await sleep(waitMs);
    expect(late.error).toMatchObject({ code: 4 });
    expect([patient.isSettled, watch.answer.isSettled]).toEqual([false, false]);
    proxy.resume();

    expect(decodeRange(await patient.promise).kvs).toEqual([]);
    expect(decodeWatch(await watch.answer.promise)).toMatchObject({ created: true });
    watch.stream.end();
  });
});

test('a connection that passes nothing any more, and does not say so, costs neither holder nor waiter the lock at the only host', async () => {
  await using stage = await openStage();
  await using proxy = await startTcpProxy(stage.server.endpoint);
  const options = { hosts: proxy.endpoint, ttlMs: 4_000, requestTimeoutMs: 2_000 };
  // Each would keep the connection of all, if they shared one.
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
