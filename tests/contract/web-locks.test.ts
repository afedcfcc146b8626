/**
 * Runs the tests of Web Locks on the memory store and on etcd, clause by clause.
 *
 * The tests of the arguments also run on Node's own `navigator.locks`, if there is one. This shows that they follow the specification.
 * The other tests do not, because Node's own calls the callback in the tick of the request.
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
