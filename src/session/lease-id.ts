/** Random ids of leases. */
import { randomBytes } from 'node:crypto';

// The client chooses the id, so that it can send a grant again after a lost response. etcd takes 0 for "choose one".
export function newLeaseId(): string {
  const id = randomBytes(8).readBigUInt64BE() >> 1n;
  return id === 0n ? newLeaseId() : id.toString();
}
