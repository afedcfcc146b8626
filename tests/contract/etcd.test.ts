/** Runs the contracts of lockers and stores on etcd. */
import { inject } from 'vitest';
import { openEtcd } from '../support/fixtures/lockers.ts';
import { lockerContract } from './locker-contract.ts';
import { storeContract } from './store-contract.ts';

const open = () => openEtcd(inject('etcdEndpoints'));

lockerContract('etcd', open);
storeContract('etcd', open);
