/** Checks a state that a locker reported against etcd's history at the revision of the state. */
import type { LockState } from '../../src/states/state.ts';
import type { EtcdRecord } from './etcd-record.ts';

export function stateProblem(record: EtcdRecord, name: string, state: LockState): string | undefined {
  const { entries, holders } = record.stateAt(name, state.revision);
  const at = `at r${String(state.revision)}`;
  if (state.held !== state.holders.length > 0) return `${at} \`held\` contradicts \`holders\``;
  const isTrue =
    state.holders.length === holders.length &&
    state.holders.every((reported, index) => {
      const holder = holders[index];
      return reported.key === holder?.key && reported.fencingToken === holder.createRevision && reported.value === holder.value;
    });
  if (!isTrue) {
    const reported = state.holders.map(({ key, fencingToken, value }) => `${key} (token ${String(fencingToken)}) '${value}'`).join(', ');
    const expected = holders.map(({ key, createRevision, value }) => `${key} (token ${String(createRevision)}) '${value}'`).join(', ');
    return `${at} the state has the holders ${reported}, but etcd had ${expected}`;
  }
  for (const { key, mode, slots, foreign } of state.holders) {
    const kind = record.kindOf(key);
    if (mode !== kind.mode || slots !== kind.slots || foreign !== kind.foreign)
      return `${at} the state has another kind for ${key} than its key`;
  }
  if (state.waiting !== entries.length - holders.length)
    return `${at} the state has ${String(state.waiting)} waiters, but etcd had ${String(entries.length - holders.length)}`;
  return undefined;
}

export const isDifferent = (a: LockState, b: LockState): boolean =>
  a.current !== b.current ||
  a.holders.length !== b.holders.length ||
  // Entries of one transaction have one token.
  a.holders.some(({ key, fencingToken, value }, index) => {
    const other = b.holders[index];
    return key !== other?.key || fencingToken !== other.fencingToken || value !== other.value;
  });
