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
        return Promise.resolve({ write: nothing, end: nothing, timeOut: nothing, unref: () => true });
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
      return Promise.resolve({ write, end: nothing, timeOut: nothing, isOutdated: () => isOutdated && calls > 0, unref: () => true });
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

  test('add() confirms a watch at revision 0 if the response has none', async () => {
    // `created`, of watch 0, without a header.
    const created = Buffer.from([0x18, 1]);
    const revisions: bigint[] = [];
    const stream = (_timeoutMs: number, _method: string, listener: StreamListener) => {
      const write = (): void => {
        setImmediate(() => {
          listener.message(created);
        });
      };
      return Promise.resolve({ write, end: nothing, timeOut: nothing, isOutdated: () => false, unref: () => true });
    };
    const hosts = { current: { address: 'a:1', stream }, tryMs: 60_000, failed: nothing, sleep: () => Promise.resolve() };
    const watches = new WatchStream(hosts as unknown as Hosts, silentLogger, 60_000);
    const listener = { created: (revision: bigint) => revisions.push(revision), events: nothing };

    watches.add({ key: 'a', deletesOnly: true, knownRevision: 5n }, listener);
    for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    const stop = watches.add({ key: 'a', deletesOnly: true }, listener);
    stop();
    expect(revisions).toEqual([0n]);
    watches.close();
  });

  describe('a watch of one key for deletions, that was stopped', () => {
    // `created` of watch 0 at revision 3, and the deletion of the key "a" at a revision, with watch 0.
    const created = Buffer.from([0x0a, 2, 0x18, 3, 0x18, 1]);
    const createdWithoutRevision = Buffer.from([0x18, 1]);
    const deletion = (revision: number) => Buffer.from([0x5a, 9, 0x08, 1, 0x12, 5, 0x0a, 1, 0x61, 0x18, revision]);
    const open = async (isConfirmed = true) => {
      let listener: StreamListener | undefined;
      let writes = 0;
      const stream = (_timeoutMs: number, _method: string, one: StreamListener) => {
        listener = one;
        const write = (): void => {
          writes += 1;
        };
        return Promise.resolve({ write, end: nothing, timeOut: nothing, isOutdated: () => false, unref: () => true });
      };
      const hosts = { current: { address: 'a:1', stream }, tryMs: 60_000, failed: nothing, sleep: () => Promise.resolve() };
      const watches = new WatchStream(hosts as unknown as Hosts, silentLogger, 60_000);
      const heard: string[] = [];
      const add = (knownRevision?: bigint, isBackground = false) => {
        const request = { key: 'a', deletesOnly: true, isBackground, ...(knownRevision === undefined ? {} : { knownRevision }) };
        return watches.add(request, {
          created: (revision) => heard.push(`created ${String(revision)}`),
          events: (events) => heard.push(...events.map(({ type, kv }) => `${type} ${String(kv.modRevision)}`)),
        });
      };
      // Keeps the stream open.
      watches.add({ key: 'z' }, { created: nothing, events: nothing });
      const stopFirst = add();
      await turn();
      const receive = (message: Buffer): void => listener?.message(message);
      const id = (message: Buffer): Buffer => Buffer.concat([message, Buffer.from([0x10, 1])]);
      const confirm = (message = created): void => {
        receive(id(message));
      };
      if (isConfirmed) confirm();
      return { add, stopFirst, heard, watches, confirm, receive: (message: Buffer) => { receive(id(message)); }, countWrites: () => writes }; // prettier-ignore
    };
    const turn = () => new Promise((resolve) => setImmediate(resolve));

    test.each([
      ['a caller that knows no revision', undefined, ['created 9']],
      ['a caller that read before it', 5n, ['created 5', 'delete 9']],
      ['a caller that read before the watch was created', 2n, ['created 3', 'delete 9']],
      ['a caller that read it', 9n, ['created 9']],
      ['a caller that read after it', 12n, ['created 12']],
    ])('reports its newest event again to %s, without a message', async (_, knownRevision, expected) => {
      const { add, stopFirst, heard, watches, receive, countWrites } = await open();
      receive(deletion(7));
      stopFirst();
      receive(deletion(9));
      heard.length = 0;
      const before = countWrites();

      add(knownRevision, true);
      expect(heard).toEqual([]);
      await turn();

      expect(heard).toEqual(expected);
      expect(countWrites()).toBe(before);
      watches.close();
    });

    test('reports an event that comes as it is taken over once, after its confirmation', async () => {
      const { add, stopFirst, heard, watches, receive } = await open();
      stopFirst();
      heard.length = 0;

      add(5n);
      receive(deletion(9));
      await turn();
      receive(deletion(11));
      await turn();

      expect(heard).toEqual(['created 5', 'delete 9', 'delete 11']);
      watches.close();
    });

    test('reports after watches in the background that have received an event in the same turn', async () => {
      const { add, stopFirst, heard, watches, receive } = await open();
      stopFirst();
      add(9n);
      await turn();
      heard.length = 0;

      receive(deletion(11));
      expect(heard).toEqual([]);
      await turn();

      expect(heard).toEqual(['delete 11']);
      watches.close();
    });

    test('is taken over before etcd has confirmed it', async () => {
      const { add, stopFirst, heard, watches, confirm, countWrites } = await open(false);
      stopFirst();
      const before = countWrites();

      add(2n);
      await turn();
      expect(heard).toEqual([]);
      confirm();

      expect(heard).toEqual(['created 3']);
      expect(countWrites()).toBe(before);
      watches.close();
    });

    test.each(['before', 'after'])('is confirmed at revision 0 again if a proxy confirmed it so %s its end', async (when) => {
      const { add, stopFirst, heard, watches, confirm, receive } = await open(false);
      if (when === 'before') confirm(createdWithoutRevision);
      stopFirst();
      if (when === 'after') confirm(createdWithoutRevision);
      heard.length = 0;

      // Nobody knows since when it reports deletions. So that one is not among them proves nothing.
      add(5n);
      await turn();
      receive(deletion(9));
      await turn();

      expect(heard).toEqual(['created 0', 'delete 9']);
      watches.close();
    });
  });

  test('add() opens another stream when a watch gets the event of another key', async () => {
    const created = Buffer.from([0x18, 1]);
    // An event of watch 0 for the deletion of the key "b" at revision 5.
    const event = Buffer.from([0x5a, 9, 0x08, 1, 0x12, 5, 0x0a, 1, 0x62, 0x18, 5]);
    let streams = 0;
    const events: unknown[] = [];
    const stream = (_timeoutMs: number, _method: string, listener: StreamListener) => {
      streams += 1;
      const write = (): void => {
        const messages = streams === 1 ? [created, event] : [created];
        setImmediate(() => { for (const message of messages) listener.message(message); }); // prettier-ignore
      };
      return Promise.resolve({ write, end: nothing, timeOut: nothing, isOutdated: () => false, unref: () => true });
    };
    const hosts = { current: { address: 'a:1', stream }, tryMs: 60_000, failed: nothing, sleep: () => Promise.resolve() };
    const watches = new WatchStream(hosts as unknown as Hosts, silentLogger, 60_000);

    watches.add({ key: 'a' }, { created: nothing, events: (received) => events.push(received) });
    for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));

    expect({ streams, events }).toEqual({ streams: 2, events: [] });
    watches.close();
  });
});
