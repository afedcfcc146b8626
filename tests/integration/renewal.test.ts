/** Tests that a renewal counts only if a read after it is answered in the same term, unlike at a former leader. */
import { Server, ServerCredentials, type sendUnaryData, type ServerDuplexStream, type ServerUnaryCall } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { resolveLockerOptions } from '../../src/options/options.ts';
import { etcdStore } from '../../src/store/etcd/etcd-store.ts';
import { messagesOf } from '../support/etcd/messages.ts';
import { freePorts } from '../support/network/ports.ts';

const [kv, leases] = [await messagesOf('KV'), await messagesOf('Lease')];
const identity = (bytes: Buffer): Buffer => bytes;
const gate = { key: Buffer.from('gate'), create_revision: '5', mod_revision: '6', version: '2', value: Buffer.alloc(0), lease: '7' };

interface Terms {
  readonly ttlSeconds: number;
  readonly renewalTerm: number;
  readonly readTerm: number;
}

/** Starts a server with the two methods that a renewal uses. */
async function startMember({ ttlSeconds, renewalTerm, readTerm }: Terms): Promise<AsyncDisposable & { readonly endpoint: string }> {
  const server = new Server();
  const method = (path: string, isStream: boolean) => ({
    path,
    requestStream: isStream,
    responseStream: isStream,
    requestSerialize: identity,
    requestDeserialize: identity,
    responseSerialize: identity,
    responseDeserialize: identity,
  });
  const header = (term: number) => ({ revision: '10', raft_term: String(term) });
  server.addService(
    { Range: method('/etcdserverpb.KV/Range', false), LeaseKeepAlive: method('/etcdserverpb.Lease/LeaseKeepAlive', true) },
    {
      Range: (_: ServerUnaryCall<Buffer, Buffer>, respond: sendUnaryData<Buffer>) => {
        respond(null, kv('Range').writeAnswer({ header: header(readTerm), kvs: [gate], count: '1' }));
      },
      LeaseKeepAlive: (stream: ServerDuplexStream<Buffer, Buffer>) => {
        stream.on('data', () =>
          stream.write(leases('LeaseKeepAlive').writeAnswer({ header: header(renewalTerm), ID: '7', TTL: String(ttlSeconds) })),
        );
        stream.on('end', () => {
          stream.end();
        });
      },
    },
  );
  const [port = 0] = await freePorts(1);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${String(port)}`, ServerCredentials.createInsecure(), (error) => {
      if (error === null) resolve();
      else reject(error);
    });
  });
  return {
    endpoint: `127.0.0.1:${String(port)}`,
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => {
        server.tryShutdown(() => {
          resolve();
        });
      });
    },
  };
}

test.each([
  ['counts when the read is answered in the same term', { ttlSeconds: 15, renewalTerm: 7, readTerm: 7 }, true],
  ['does not count when the read is answered in a newer term', { ttlSeconds: 15, renewalTerm: 7, readTerm: 8 }, false],
  ['does not count when the read is answered in an older term', { ttlSeconds: 15, renewalTerm: 8, readTerm: 7 }, false],
  ['does not count when the member does not know the lease', { ttlSeconds: 0, renewalTerm: 7, readTerm: 7 }, false],
])('a renewal %s', async (_, terms, renewed) => {
  await using member = await startMember(terms);
  const store = etcdStore(resolveLockerOptions({ hosts: member.endpoint }));

  const renewal = await store.renew('7', 'gate', 1_000);
  await store.close();

  expect(renewal).toMatchObject({ renewed, gate: { key: 'gate', createRevision: 5n, modRevision: 6n } });
});
