/** Whether a state that a locker told was the truth at the revision that it names. */
import type { LockState } from '../../src/watch.ts';
import type { Record } from './record.ts';

export function stateProblem(record: Record, name: string, state: LockState): string | undefined {
  const { entries } = record.stateAt(name, state.revision);
  const [head] = entries;
  const [told] = state.holders;
  const at = `at r${String(state.revision)}`;
  if (state.held !== (told !== undefined) || state.holders.length > 1) return `${at} it contradicts itself`;
  if (head?.key !== told?.key || head?.createRevision !== told?.fencingToken)
    return `${at} it tells ${told?.key ?? 'nobody'}, the holder was ${head?.key ?? 'nobody'}`;
  if (head?.value !== told?.value) return `${at} it tells the value '${told?.value ?? ''}', it was '${head?.value ?? ''}'`;
  if (told !== undefined && told.foreign !== record.kindOf(told.key).foreign) return `${at} it takes ${told.key} for somebody else's`;
  if (state.waiting !== Math.max(0, entries.length - 1)) return `${at} it tells of ${String(state.waiting)} waiters`;
  return undefined;
}

export const isDifferent = (a: LockState, b: LockState): boolean =>
  a.holders[0]?.fencingToken !== b.holders[0]?.fencingToken || a.holders[0]?.value !== b.holders[0]?.value;
