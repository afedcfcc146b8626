/** Random ids of leases. */
// The client chooses the id, so that it can send a grant again after a lost response. etcd takes 0 for "choose one".
export function newLeaseId(): string {
  // The global object, because an import of node:crypto takes 4 ms even if no lock is used.
  const [random = 0n] = crypto.getRandomValues(new BigUint64Array(1));
  const id = random >> 1n;
  return id === 0n ? newLeaseId() : id.toString();
}
