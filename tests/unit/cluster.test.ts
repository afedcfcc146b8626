/** Tests of the check of cluster ids in responses. */
import { describe, expect, test, vi } from 'vitest';
import { CallFailure, status } from '../../src/store/etcd/call-failure.ts';
import { Cluster } from '../../src/store/etcd/cluster.ts';
import type { StreamListener } from '../../src/store/etcd/grpc-stream.ts';
import { methods, type RawClient } from '../../src/store/etcd/raw-client.ts';
import { messagesOf } from '../support/etcd/messages.ts';

const { writeAnswer } = (await messagesOf('KV'))('Range');

const responseOf = (clusterId: string): Buffer =>
  writeAnswer({ header: { cluster_id: clusterId, member_id: '9372538179322589801', revision: '7', raft_term: '2' }, kvs: [], count: '0' });

/** A client of one host, which responds as `respond` says. */
class Client implements RawClient {
  respond: () => Buffer;
  listener: StreamListener | undefined;

  constructor(clusterId: string) {
    this.respond = () => responseOf(clusterId);
  }

  call(): Promise<Buffer> {
    return new Promise((resolve) => {
      resolve(this.respond());
    });
  }

  stream(_method: string, listener: StreamListener): Promise<never> {
    this.listener = listener;
    return new Promise(() => undefined);
  }

  close(): void {
    this.respond = () => Buffer.alloc(0);
  }
}

const warn = vi.fn();
const nothing = (): void => undefined;
const logger = { debug: nothing, info: nothing, warn, error: nothing };
const call = (client: RawClient): Promise<Buffer> => client.call(methods.txn, Buffer.alloc(0), 0);
// The second id differs in its last byte only, and both need all 64 bits.
const [one, other] = ['14841639068965178418', '14841639068965178419'];

describe('Cluster', () => {
  test('a call at a host of another cluster than that of the first response fails as unsent, and is logged once', async () => {
    warn.mockReset();
    const cluster = new Cluster(logger, 'locks/');
    cluster.onGrant(60);
    const [home, stranger] = [cluster.guard(new Client(one), 'a:1'), cluster.guard(new Client(other), 'b:1')];

    await call(home);
    for (let tries = 0; tries < 3; tries += 1)
      await expect(call(stranger)).rejects.toMatchObject({
        kind: 'unsent',
        details: 'belongs to another cluster: cdf818194e3a8c33 instead of cdf818194e3a8c32',
      });

    expect(await call(home)).toEqual(responseOf(one));
    expect(warn).toHaveBeenCalledTimes(1);
  });

  test('a response without a cluster id is accepted', async () => {
    const cluster = new Cluster(logger, '');
    await call(cluster.guard(new Client(one), 'a:1'));
    const proxied = new Client(other);
    for (const response of [Buffer.alloc(0), writeAnswer({ header: { revision: '7' }, kvs: [], count: '0' })]) {
      proxied.respond = () => response;
      expect(await call(cluster.guard(proxied, 'b:1'))).toBe(response);
    }
  });

  test('a refusal of a host of another cluster counts as its failure', async () => {
    const cluster = new Cluster(logger, 'locks/');
    cluster.onGrant(60);
    await call(cluster.guard(new Client(one), 'a:1'));
    const refusing = new Client(other);
    const responses = [refusing.respond];
    refusing.respond = () => {
      refusing.respond = responses[0] ?? refusing.respond;
      throw new CallFailure(status.notFound, 'etcdserver: requested lease not found');
    };

    await expect(call(cluster.guard(refusing, 'b:1'))).rejects.toMatchObject({ kind: 'unsent' });
  });

  test('a refusal of a host of the own cluster stays a refusal', async () => {
    const cluster = new Cluster(logger, 'locks/');
    await call(cluster.guard(new Client(one), 'a:1'));
    const refusing = new Client(one);
    const answers = [refusing.respond];
    refusing.respond = () => {
      refusing.respond = answers[0] ?? refusing.respond;
      throw new CallFailure(status.notFound, 'etcdserver: requested lease not found');
    };

    await expect(call(cluster.guard(refusing, 'b:1'))).rejects.toMatchObject({ kind: 'refused' });
  });

  test('a stream from a host of another cluster ends without a message', async () => {
    const cluster = new Cluster(logger, 'locks/');
    cluster.onGrant(60);
    await call(cluster.guard(new Client(one), 'a:1'));
    const client = new Client(other);
    const listener = { message: vi.fn(), ended: vi.fn() };
    void cluster.guard(client, 'b:1').stream(methods.watch, listener, 0);

    client.listener?.message(responseOf(other));
    client.listener?.message(responseOf(one));
    client.listener?.ended(new CallFailure(status.unavailable, 'later'));

    expect(listener.message).not.toHaveBeenCalled();
    expect(listener.ended).toHaveBeenCalledTimes(1);
    expect(listener.ended).toHaveBeenCalledWith(expect.objectContaining({ kind: 'unsent' }));
  });

  test('another id counts once no response has had the old one for the longest TTL', async () => {
    const cluster = new Cluster(logger, 'locks/');
    cluster.onGrant(1);
    const [home, stranger] = [cluster.guard(new Client(one), 'a:1'), cluster.guard(new Client(other), 'b:1')];
    await call(home);
    let nowMs = Math.round(performance.now());
    const now = vi.spyOn(performance, 'now').mockImplementation(() => nowMs);

    await expect(call(stranger)).rejects.toMatchObject({ kind: 'unsent' });
    nowMs += 900;
    await call(home); // the old cluster still responds
    await expect(call(stranger)).rejects.toMatchObject({ kind: 'unsent' });
    nowMs += 999;
    await expect(call(stranger)).rejects.toMatchObject({ kind: 'unsent' });
    nowMs += 1;
    expect(await call(stranger)).toEqual(responseOf(other));

    await expect(call(home)).rejects.toMatchObject({ kind: 'unsent' });
    now.mockRestore();
  });
});
