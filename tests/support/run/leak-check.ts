/**
 * Checks after each test file that it leaves no new resource that keeps the process alive.
 *
 * As a setup file, it registers its hooks first, so they run last. It does not see timers with unref(). Tests count those under the
 * manual clock.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect } from 'vitest';
import './keep-handles.ts';

/** gRPC closes its sockets with a delay, and a killed process ends with a delay. */
const waitMs = 3_000;

/** Short-lived resources of module loading and of the test runner. */
const ignored = new Set(['FSReqPromise', 'FSReqCallback', 'Immediate', 'CloseReq', 'MessagePort', 'TTYWrap', 'GetAddrInfoReqWrap']);

let before = new Map<string, number>();

beforeAll(() => {
  before = activeResources();
  // Timers of the runner end by themselves. Counting them would hide as many timers of the file.
  before.delete('Timeout');
});

afterAll(async () => {
  const deadlineAt = performance.now() + waitMs;
  while (leftOver().length > 0 && performance.now() < deadlineAt) await sleep(20);

  expect(leftOver(), 'resources that this file left open').toEqual([]);
});

/** Returns the new resources that keep the process alive, for example 'TCPSocketWrap x 2'. */
function leftOver(): string[] {
  return [...activeResources()]
    .map(([type, count]) => ({ type, more: count - (before.get(type) ?? 0) }))
    .filter(({ more }) => more > 0)
    .map(({ type, more }) => `${type} x ${String(more)}`);
}

function activeResources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const type of process.getActiveResourcesInfo()) {
    if (!ignored.has(type)) counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  return counts;
}

/**
 * Asserts that the server has no key under `prefix` (default: no key at all) and no lease.
 *
 * @param leases limits the check to these leases, on a server that other files use too
 */
export async function expectEmptyEtcd(endpoint: string, prefix = '', leases?: Iterable<string>): Promise<void> {
  const { Etcd3 } = await import('etcd3'); // imported late, because every test file loads this module
  const client = new Etcd3({ hosts: endpoint });
  const checked = leases === undefined ? undefined : new Set(leases);
  const read = async () => {
    const [keys, { leases: living }] = await Promise.all([client.getAll().prefix(prefix).keys(), client.leaseClient.leaseLeases()]);
    return { keys, leases: living.map(({ ID }) => ID).filter((id) => checked?.has(id) ?? true) };
  };
  try {
    const deadlineAt = performance.now() + waitMs;
    let found = await read();
    while (found.keys.length + found.leases.length > 0 && performance.now() < deadlineAt) {
      await sleep(50);
      found = await read();
    }
    expect(found, `keys under '${prefix}' and leases that are left in etcd`).toEqual({ keys: [], leases: [] });
  } finally {
    client.close();
  }
}
