/** The floor: what any lock must at least ask of etcd, by etcd3 and without any care. */
import { randomUUID } from 'node:crypto';
import { Etcd3 } from 'etcd3';
import { prefix, type Client, type OpenClient } from './client.ts';

/** Put if absent, with a lease; then delete if it is still the same: two transactions. It cannot wait. */
export const openRaw: OpenClient = async (hosts, ttlSeconds) => {
  const { client, leaseId, close } = await openWithLease(hosts, ttlSeconds);

  const tryLock: NonNullable<Client['tryLock']> = async (name) => {
    const key = prefix + name;
    const { succeeded, header } = await client
      .if(key, 'Create', '==', 0)
      .then(client.put(key).value('').lease(leaseId))
      .else(client.get(key))
      .commit();
    if (!succeeded) return null;
    return { release: () => client.if(key, 'Create', '==', header.revision).then(client.delete().key(key)).commit() };
  };

  return {
    async lock(name) {
      const held = await tryLock(name);
      if (held === null) throw new Error(`Cannot wait for ${name}: raw transactions know no turns`);
      return held;
    },
    tryLock,
    inspect: (name) => client.getAll().prefix(`${prefix}${name}/`).exec(),
    put: (name) =>
      client
        .put(prefix + name)
        .value('')
        .lease(leaseId)
        .exec(),
    close,
  };
};

/** One caller that gives the name from one entry to the next: one transaction a turn, one at a time. */
export const openRawTurns: OpenClient = async (hosts, ttlSeconds) => {
  const { client, leaseId, close } = await openWithLease(hosts, ttlSeconds);
  const entries = [`${prefix}${randomUUID()}/1`, `${prefix}${randomUUID()}/2`] as const;
  let revision = '0';
  let turn = 0;

  return {
    async lock() {
      const [before, next] = turn % 2 === 0 ? entries : [entries[1], entries[0]];
      turn += 1;
      const { succeeded, header } = await client
        .if(before, 'Create', '==', revision)
        .then(client.delete().key(before), client.put(next).value('').lease(leaseId))
        .commit();
      if (!succeeded) throw new Error('Cannot take a turn: somebody else wrote the entry');
      ({ revision } = header);
      return { release: () => Promise.resolve() };
    },
    close,
  };
};

async function openWithLease(hosts: readonly string[], ttlSeconds: number) {
  const client = new Etcd3({ hosts: [...hosts] });
  const { ID: leaseId } = await client.leaseClient.leaseGrant({ TTL: ttlSeconds });
  const close = async (): Promise<void> => {
    await client.leaseClient.leaseRevoke({ ID: leaseId });
    client.close();
  };
  return { client, leaseId, close };
}
