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
    ['one entry before an exclusive entry', 1, ['1-1'], { keys: keys('1-1'), enough: 1, isAll: true }],
    [
      'two entries before an exclusive entry, which may be the last of many',
      1,
      ['1-1', '2-1'],
      { keys: keys('1-1', '2-1'), enough: 1, isAll: false },
    ],
    ['a key that is not UTF-8, of which there may be several', 1, ['\uFFFD'], { keys: keys('\uFFFD'), enough: 1, isAll: false }],
    ['a reader before a writer', 1, ['1-1-shared'], { keys: keys('1-1-shared'), enough: 1, isAll: true }],
    ['readers before a reader', Infinity, ['1-1-shared', '2-1-shared'], undefined],
    ['a writer among the readers', Infinity, ['1-1-shared', '2-1', '3-1-shared'], { keys: keys('2-1'), enough: 1, isAll: true }],
    [
      'several entries of other kinds, of which the last counts',
      Infinity,
      ['1-1', '2-1-of-2', '3-1-shared'],
      { keys: keys('2-1-of-2'), enough: 1, isAll: false },
    ],
    ['a free slot', 3, ['1-1-of-3', '2-1-of-3'], undefined],
    ['no free slot', 2, ['1-1-of-2', '2-1-of-2'], { keys: keys('1-1-of-2', '2-1-of-2'), enough: 1, isAll: true }],
    [
      'other waiters of the same kind',
      2,
      ['1-1-of-2', '2-1-of-2', '3-1-of-2'],
      { keys: keys('1-1-of-2', '2-1-of-2', '3-1-of-2'), enough: 2, isAll: true },
    ],
    ['another kind, and a free slot behind it', 2, ['1-1', '2-1-of-2'], { keys: keys('1-1'), enough: 1, isAll: true }],
    ['another kind, and no free slot behind it', 2, ['1-1', '2-1-of-2', '3-1-of-2'], { keys: keys('1-1'), enough: 1, isAll: false }],
    ['another number of slots', 2, ['1-1-of-3'], { keys: keys('1-1-of-3'), enough: 1, isAll: true }],
    ['a foreign entry', Infinity, ['1234'], { keys: keys('1234'), enough: 1, isAll: true }],
    ['a key that only looks like a kind', Infinity, ['1-1-shared-2', '2-1-shared'], { keys: keys('1-1-shared-2'), enough: 1, isAll: true }],
  ])('findObstacle() decides for %s', (_, slots, suffixes, expected) => {
    const ahead = suffixes.map((suffix, index) => entry(suffix, BigInt(index + 1)));

    // etcd returns the entries in the order of their keys, which is not the order of the queue.
    expect(findObstacle(queue, slots, [...ahead].reverse())).toEqual(
      expected === undefined ? undefined : { ...expected, keys: expected.keys.length > 1 ? [...expected.keys].reverse() : expected.keys },
    );
  });
});
