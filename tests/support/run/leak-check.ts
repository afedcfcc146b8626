/**
 * After each test file: whatever keeps the process alive and was not there before the file must be gone.
 *
 * Named as a setup file, so its hooks are the first to be registered and the last to run. Unref'd timers do not show here: they are
 * counted under the manual clock.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect } from 'vitest';

/** Grpc closes its sockets in its own time, and a killed process is reaped a little later. */
const patienceMs = 3_000;

/** What comes and goes by itself: reading modules, the runner's own messages. */
const passing = new Set(['FSReqPromise', 'FSReqCallback', 'Immediate', 'CloseReq', 'MessagePort', 'TTYWrap', 'GetAddrInfoReqWrap']);

let before = new Map<string, number>();

beforeAll(() => {
  before = activeResources();
  // The runner's own end by themselves: to count them would let as many of the file's go unseen.
  before.delete('Timeout');
});

afterAll(async () => {
  const giveUpAt = performance.now() + patienceMs;
  while (leftOver().length > 0 && performance.now() < giveUpAt) await sleep(20);

  expect(leftOver(), 'what this file left open').toEqual([]);
});

/** What keeps the process alive now and did not before, as in 'TCPSocketWrap x 2'. */
function leftOver(): string[] {
  return [...activeResources()]
    .map(([type, count]) => ({ type, more: count - (before.get(type) ?? 0) }))
    .filter(({ more }) => more > 0)
    .map(({ type, more }) => `${type} x ${String(more)}`);
}

function activeResources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const type of process.getActiveResourcesInfo()) {
    if (!passing.has(type)) counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  return counts;
}

/**
 * Asserts that nothing is left on the server: no key under `prefix` (default: none at all), and no lease.
 *
 * Where other files use the server too, `leases` names the ones that are meant.
 */
export async function expectEmptyEtcd(endpoint: string, prefix = '', leases?: Iterable<string>): Promise<void> {
  const { Etcd3 } = await import('etcd3'); // not at the top: every test file reads this one
  const client = new Etcd3({ hosts: endpoint });
  const meant = leases === undefined ? undefined : new Set(leases);
  const look = async () => {
    const [keys, { leases: living }] = await Promise.all([client.getAll().prefix(prefix).keys(), client.leaseClient.leaseLeases()]);
    return { keys, leases: living.map(({ ID }) => ID).filter((id) => meant?.has(id) ?? true) };
  };
  try {
    const giveUpAt = performance.now() + patienceMs;
    let found = await look();
    while (found.keys.length + found.leases.length > 0 && performance.now() < giveUpAt) {
      await sleep(50);
      found = await look();
    }
    expect(found, `what is left in etcd under '${prefix}'`).toEqual({ keys: [], leases: [] });
  } finally {
    client.close();
  }
}
