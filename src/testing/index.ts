/**
 * The public names of `etcd-locker/testing`: a store in memory with faults, a clock that a test moves, and the contract of stores.
 *
 * Start with memory-store.ts and manual-clock.ts. The etcd in memory is in ../store/memory.
 *
 * @module etcd-locker/testing
 */
export { memoryStore, type MemoryStore, type MemoryStoreOptions } from './memory-store.ts';
export { ManualClock } from './manual-clock.ts';
export { storeContract, type StoreContractOptions } from './store-contract.ts';
export type { StoreFixture } from './contract/store-test.ts';
