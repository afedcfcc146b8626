/**
 * The public names of `etcd-locker/testing`: a store in memory, and a clock that a test moves.
 *
 * Start with manual-clock.ts. The store is in ../store/memory.
 */
export { memoryStore, type MemoryStoreOptions } from '../store/memory/memory-store.ts';
export { ManualClock } from './manual-clock.ts';
