/** Tests of the watch stream of a locker: how it opens and replaces connections. */
import { describe, expect, test } from 'vitest';
import { CallFailure, status } from '../../src/store/etcd/call-failure.ts';
import type { StreamListener } from '../../src/store/etcd/grpc-stream.ts';
import type { Hosts } from '../../src/store/etcd/hosts.ts';
import { WatchStream } from '../../src/store/etcd/watch-stream.ts';

const nothing = (): void => undefined;
const silentLogger = { debug: nothing, info: nothing, warn: nothing, error: nothing };

describe('WatchStream', () => {
  test.each(Array.from({ length: 10 }, (_, ticks) => ticks))(
    'add() opens another stream when the first one ends %i microtasks after it opened',
    async (ticks) => {
      let streams = 0;
      const endAfter = async (listener: StreamListener): Promise<void> => {
        for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve();
        listener.ended(new CallFailure(status.unavailable, 'Connection dropped'));
      };
      const stream = (_timeoutMs: number, _method: string, listener: StreamListener) => {
        streams += 1;
        if (streams === 1) void endAfter(listener);
        return Promise.resolve({ write: nothing, end: nothing, timeOut: nothing });
      };
      const hosts = { current: { address: 'a:1', stream }, tryMs: 60_000, failed: nothing, sleep: () => Promise.resolve() };
      const watches = new WatchStream(hosts as unknown as Hosts, silentLogger, 60_000);

      const stop = watches.add({ key: 'a' }, { created: nothing, events: nothing });
      await new Promise((resolve) => setImmediate(resolve));

      expect(streams).toBe(2);
      stop();
      watches.close();
    },
  );

  test.each([
    ['opens another stream at once when there is another token', true, [1, 1]],
    ['creates the watch again on the same stream when the token is the same', false, [2]],
  ])('a watch that etcd refuses with "permission denied", as etcd 3.4 does for an outdated token, %s', async (_, isOutdated, expected) => {
    const reason = Buffer.from('etcdserver: permission denied');
    // A response with `created` and `canceled`.
    const refusal = Buffer.concat([Buffer.from([0x18, 1, 0x20, 1, 0x32, reason.length]), reason]);
    const creates: number[] = [];
    let calls = 0;
    const stream = (_timeoutMs: number, _method: string, listener: StreamListener) => {
      const index = creates.push(0) - 1;
      const write = (): void => {
        creates[index] = (creates[index] ?? 0) + 1;
        if (creates.length === 1 && creates[0] === 1) setImmediate(() => { listener.message(refusal); }); // prettier-ignore
      };
      return Promise.resolve({ write, end: nothing, timeOut: nothing, isOutdated: () => isOutdated && calls > 0 });
    };
    const call = () => {
      calls += 1;
      return Promise.resolve(Buffer.alloc(0));
    };
    const hosts = { current: { address: 'a:1', stream, call }, tryMs: 60_000, failed: nothing, sleep: () => Promise.resolve() };
    const watches = new WatchStream(hosts as unknown as Hosts, silentLogger, 60_000);

    const stop = watches.add({ key: 'a' }, { created: nothing, events: nothing });
    for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));

    expect({ calls, creates }).toEqual({ calls: 1, creates: expected });
    stop();
    watches.close();
  });
});
