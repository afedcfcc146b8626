/** Whether a state that a locker told was the truth at the revision that it names. */
import type { LockState } from '../../src/states/state.ts';
import type { Record } from './record.ts';

export function stateProblem(record: Record, name: string, state: LockState): string | undefined {
  const { entries, holders } = record.stateAt(name, state.revision);
  const at = `at r${String(state.revision)}`;
  if (state.held !== state.holders.length > 0) return `${at} it contradicts itself`;
  const isTrue =
    state.holders.length === holders.length &&
    state.holders.every((told, index) => {
      const was = holders[index];
      return told.key === was?.key && told.fencingToken === was.createRevision && told.value === was.value;
    });
  if (!isTrue) {
    const told = state.holders.map(({ key, fencingToken, value }) => `${key} (token ${String(fencingToken)}) '${value}'`).join(', ');
    const were = holders.map(({ key, createRevision, value }) => `${key} (token ${String(createRevision)}) '${value}'`).join(', ');
    return `${at} it tells ${told}, the holders were ${were}`;
  }
  for (const { key, mode, slots, foreign } of state.holders) {
    const kind = record.kindOf(key);
    if (mode !== kind.mode || slots !== kind.slots || foreign !== kind.foreign) return `${at} it takes ${key} for what it is not`;
  }
  if (state.waiting !== entries.length - holders.length) return `${at} it tells of ${String(state.waiting)} waiters`;
  return undefined;
}

export const isDifferent = (a: LockState, b: LockState): boolean =>
  a.holders.length !== b.holders.length ||
  a.holders.some(({ fencingToken, value }, index) => {
    const other = b.holders[index];
    return fencingToken !== other?.fencingToken || value !== other.value;
  });
