/** The floor: the least requests that any lock needs, through etcd3 and without error handling. */
import { randomUUID } from 'node:crypto';
import { Etcd3 } from 'etcd3';
import { prefix, type Client, type OpenClient } from './client.ts';

/** Two transactions: put the key with a lease if it is absent, then delete it if it is unchanged. It cannot wait. */
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
      if (held === null) throw new Error(`Cannot wait for ${name}: raw transactions have no queue`);
      return held;
    },
    tryLock,
    put: (name) =>
      client
        .put(prefix + name)
        .value('')
        .lease(leaseId)
        .exec(),
    read: (name) =>
      client
        .get(prefix + name)
        .serializable(true)
        .exec(),
    close,
  };
};

/** One caller that passes the name from one entry to the next, with one transaction for each hold. */
export const openRawTurns: OpenClient = async (hosts, ttlSeconds) => {
  const { client, leaseId, close } = await openWithLease(hosts, ttlSeconds);
  const entries = [`${prefix}${randomUUID()}/1`, `${prefix}${randomUUID()}/2`] as const;
  let revision = '0';
  let count = 0;

  return {
    async lock() {
      const [before, next] = count % 2 === 0 ? entries : [entries[1], entries[0]];
      count += 1;
      const { succeeded, header } = await client
        .if(before, 'Create', '==', revision)
        .then(client.delete().key(before), client.put(next).value('').lease(leaseId))
        .commit();
      if (!succeeded) throw new Error('Cannot pass the name on: another client wrote the entry');
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
