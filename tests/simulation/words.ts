/** Describes transactions for the history. */
import type { Committed, Transaction } from '../../src/store/store.ts';

const isGate = (key: string): boolean => key.includes('@sessions/');

/** Returns the entries that a transaction creates. Only a creation compares a gate. */
export const createdEntriesOf = ({ compare, then }: Transaction): readonly { readonly value: string; readonly leaseId: string }[] => {
  if (!compare.some(({ key }) => isGate(key))) return [];
  return then.flatMap((one) => ('put' in one && !isGate(one.put.key) ? [one.put] : []));
};

export function describe(transaction: Transaction): string {
  const { compare, then } = transaction;
  const conditions = compare.map(({ key, target, revision }) => `${target}(${key})=${String(revision)}`).join(' ');
  const actions = then.map((one) => {
    if ('put' in one) return isGate(one.put.key) ? `put gate ${one.put.key}` : `put ${one.put.key} '${one.put.value}'`;
    if ('delete' in one) return `delete ${one.delete.key}`;
    return 'read';
  });
  return `${actions.join(' + ')}${conditions === '' ? '' : ` if ${conditions}`}`;
}

export const describeAnswer = ({ succeeded, revision }: Committed): string => `${succeeded ? 'yes' : 'no'} r${String(revision)}`;
