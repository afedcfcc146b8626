/** Runs the contracts of lockers and stores on the memory store. */
import { openMemory } from '../support/fixtures/lockers.ts';
import { lockerContract } from './locker-contract.ts';
import { storeContract } from './store-contract.ts';

lockerContract('memory', openMemory);
storeContract('memory', openMemory);
