/** Tests of the rule of admission: which entries an entry waits for. */
import { describe, expect, test } from 'vitest';
import { findObstacle } from '../../src/entry/admission.ts';
import { queueRange } from '../../src/keys.ts';
import type { KeyValue } from '../../src/store/store.ts';

describe('findObstacle()', () => {
  const queue = queueRange('locks/', 'a');
  const entry = (suffix: string, createRevision: bigint): KeyValue => ({
    key: `${queue.key}${suffix}`,
    value: '',
    createRevision,
    modRevision: createRevision,
    leaseId: '1',
  });
  const keys = (...suffixes: string[]): string[] => suffixes.map((suffix) => queue.key + suffix);

  test.each([
    ['an empty queue', 1, [], undefined],
    ['one entry before an exclusive entry', 1, ['1-1'], { keys: keys('1-1'), enough: 1 }],
    ['readers before a reader', Infinity, ['1-1-shared', '2-1-shared'], undefined],
    ['a writer among the readers', Infinity, ['1-1-shared', '2-1', '3-1-shared'], { keys: keys('2-1'), enough: 1 }],
    [
      'several entries of other kinds, of which the last counts',
      Infinity,
      ['1-1', '2-1-of-2', '3-1-shared'],
      { keys: keys('2-1-of-2'), enough: 1 },
    ],
    ['a free slot', 3, ['1-1-of-3', '2-1-of-3'], undefined],
    ['no free slot', 2, ['1-1-of-2', '2-1-of-2'], { keys: keys('1-1-of-2', '2-1-of-2'), enough: 1 }],
    [
      'other waiters of the same kind',
      2,
      ['1-1-of-2', '2-1-of-2', '3-1-of-2'],
      { keys: keys('1-1-of-2', '2-1-of-2', '3-1-of-2'), enough: 2 },
    ],
    ['another number of slots', 2, ['1-1-of-3'], { keys: keys('1-1-of-3'), enough: 1 }],
    ['a foreign entry', Infinity, ['1234'], { keys: keys('1234'), enough: 1 }],
    ['a key that only looks like a kind', Infinity, ['1-1-shared-2', '2-1-shared'], { keys: keys('1-1-shared-2'), enough: 1 }],
  ])('findObstacle() decides for %s', (_, slots, suffixes, expected) => {
    const ahead = suffixes.map((suffix, index) => entry(suffix, BigInt(index + 1)));

    // etcd returns the entries in the order of their keys, which is not the order of the queue.
    expect(findObstacle(queue, slots, [...ahead].reverse())).toEqual(
      expected === undefined ? undefined : { ...expected, keys: expected.keys.length > 1 ? [...expected.keys].reverse() : expected.keys },
    );
  });
});
