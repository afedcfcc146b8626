/** What a user's tests need: a store in memory and a clock to move by hand. */
export { memoryStore, type MemoryStoreOptions } from '../store/memory/memory-store.ts';
export { ManualClock } from './manual-clock.ts';
