/** What may be left once nobody wants anything any more, and once all have closed: nothing. */
import type { World } from './world.ts';

/** Every call is over and every lock released: no entry is left, and every watch knows so. */
export function checkQuiet({ judge, record, scenario, processes }: World): void {
  for (const name of scenario.names) {
    const [ghost] = record.entries(name);
    if (ghost !== undefined) judge.violated('ghost', `${ghost.key} '${ghost.value}' is nobody's`);
  }
  for (const { id, watcher } of processes) {
    const idle = watcher?.idleState;
    if (idle?.state.held === true) judge.violated('state', `${id} still sees ${idle.name} held by ${idle.state.holders[0]?.key ?? ''}`);
  }
}

export function checkLeftovers({ judge, etcd, everyProcess }: World): void {
  if (etcd.leaseIds.length > 0) judge.violated('leftover', `leases ${etcd.leaseIds.join(', ')}`);
  const { ranges } = etcd.commit({ compare: [], then: [{ range: { key: ' ', rangeEnd: '~' } }], otherwise: [] });
  for (const { key } of ranges[0] ?? []) judge.violated('leftover', `key ${key}`);
  for (const process of everyProcess) {
    if (process.isCrashed) continue;
    const { id, clock, store, isOver, isClosed, watcher } = process;
    // A watch that goes on is no leftover of an open locker.
    const expected = isOver || watcher === undefined ? 0 : 1;
    if (isOver && !isClosed) judge.violated('leftover', `${id} is still closing`);
    if (isOver && watcher?.isDone === false) judge.violated('leftover', `the watch of ${id} goes on`);
    if (clock.timerCount > 0) judge.violated('leftover', `${String(clock.timerCount)} timers of ${id}`);
    if (clock.holdCount > expected) judge.violated('leftover', `${String(clock.holdCount)} holds of ${id}`);
    if (store.watches.size > expected) judge.violated('leftover', `${String(store.watches.size)} watches of ${id}`);
  }
}
