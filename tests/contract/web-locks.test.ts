/**
 * Web Locks, clause by clause, on the memory store and on etcd. What concerns the arguments runs on Node's own `navigator.locks` too,
 * where there is one: a proof that it asks for what the specification says. The rest of Node's own goes other ways: it calls the callback
 * in the turn of the request.
 */
import { describe, inject } from 'vitest';
import { nodeLocks, openOn, openReference } from '../support/fixtures/web-locks.ts';
import { openEtcd, openMemory } from '../support/fixtures/lockers.ts';
import { webLocksArguments } from './suites/web-locks-arguments.ts';
import { webLocksMachines } from './suites/web-locks-machines.ts';
import { webLocksNames } from './suites/web-locks-names.ts';
import { webLocksRequest } from './suites/web-locks-request.ts';

describe.each([
  ['memory', openMemory, 200],
  ['etcd', () => openEtcd(inject('etcdEndpoints')), 20],
] as const)('Web Locks on %s', (_, open, runs) => {
  webLocksArguments(openOn(open));
  webLocksRequest(openOn(open));
  webLocksMachines(open);
  webLocksNames(open, runs);
});

describe.runIf(nodeLocks !== undefined)("Web Locks: Node's own", () => {
  if (nodeLocks === undefined) return;
  webLocksArguments(openReference(nodeLocks), true);
});
