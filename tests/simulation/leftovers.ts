/** Checks that nothing is left: no entry once all calls have ended, and nothing at all once every locker is closed. */
import type { World } from './world.ts';

/** The time in which each watch reports a change, without faults. */
const quietMs = 250;

/** Every call has ended and every lock is released: no entry is left, and every watch has reported it. */
export function checkQuiet({ judge, record, scenario, scheduler, processes }: World): void {
  for (const name of scenario.names) {
    const [ghost] = record.entries(name);
    if (ghost !== undefined && !judge.kept.isKept(ghost)) judge.violated('ghost', `${ghost.key} '${ghost.value}' belongs to no caller`);
  }
  for (const { id, watcher } of processes) {
    const idle = watcher?.idleState;
    // A kept entry may have been given back just now.
    const isFree =
      idle !== undefined && scheduler.nowMs - record.changedAtMs(idle.name) > quietMs && record.holders(idle.name).length === 0;
    if (idle?.state.held === true && isFree)
      judge.violated('state', `${id} still sees ${idle.name} held by ${idle.state.holders[0]?.key ?? ''}`);
    if (idle?.state.current === false) judge.violated('state', `${id} still takes its state of ${idle.name} for old`);
  }
}

export function checkLeftovers({ judge, etcd, allProcesses }: World): void {
  if (etcd.leaseIds.length > 0) judge.violated('leftover', `leases ${etcd.leaseIds.join(', ')}`);
  const { ranges } = etcd.commit({ compare: [], then: [{ range: { key: ' ', rangeEnd: '~' } }], otherwise: [] });
  for (const { key } of ranges[0] ?? []) judge.violated('leftover', `key ${key}`);
  for (const process of allProcesses) {
    if (process.isCrashed) continue;
    const { id, clock, store, isOver, isClosed, watcher } = process;
    // An open locker may keep its running watch.
    const expected = isOver || watcher === undefined ? 0 : 1;
    if (isOver && !isClosed) judge.violated('leftover', `${id} is still closing`);
    if (isOver && watcher?.isDone === false) judge.violated('leftover', `the watch of ${id} still runs`);
    if (clock.timerCount > 0) judge.violated('leftover', `${String(clock.timerCount)} timers of ${id}`);
    if (clock.holdCount > expected) judge.violated('leftover', `${String(clock.holdCount)} holds of ${id}`);
    if (store.watchStream.size > expected) judge.violated('leftover', `${String(store.watchStream.size)} watches of ${id}`);
  }
}
