/** Tests of the judge: each history breaks one rule and keeps all others. */
import { describe, expect, test } from 'vitest';
import type { EventBody, Event } from './history.ts';
import { judge, judgeEnding, type Limits } from './judge.ts';

const limits: Limits = { boundMs: 1_000 };
const line = (at: number, client: string, deed: EventBody): Event => ({ at, client, ...deed });

/** A hold that is certain from `from` to `until`, from its request to its release. */
function holdOf(client: string, name: string, token: number, from: number, until: number, slots: number | null = 1): Event[] {
  return [
    line(from - 10, client, { step: 'requested', names: [name] }),
    line(from, client, { step: 'held', holds: [{ name, token: String(token), slots }] }),
    line(until, client, { step: 'certain' }),
    line(until + 1, client, { step: 'releasing' }),
    line(until + 2, client, { step: 'released' }),
  ];
}
const added = (at: number, client: string, token: number, before: number, outcome: 'written' | 'refused' | 'unknown' = 'written') =>
  line(at, client, { step: 'added', name: 'x', token: String(token), before, outcome });
const total = (value: number) => line(9_000, '-', { step: 'total', name: 'x', value });
const rulesOf = (...history: Event[]) => judge(history, limits).violations.map(({ rule }) => rule);

describe('the judge', () => {
  test('accepts holds one after the other, in any order of the lines', () => {
    const history = [
      ...holdOf('b.0', 'x', 8, 200, 300),
      ...holdOf('a.0', 'x', 5, 100, 190),
      added(150, 'a.0', 5, 0),
      added(250, 'b.0', 8, 1),
      total(2),
    ];

    const { violations, figures } = judge(history, limits);

    expect(violations).toEqual([]);
    expect(figures).toEqual({ faults: 0, locks: 2, losses: 0, increments: 2, refusedWrites: 0, longestGapMs: 10 });
  });

  test('accepts an overlap up to maxOverlapMs, and no longer', () => {
    const history = [...holdOf('a.0', 'x', 5, 100, 400), ...holdOf('b.0', 'x', 8, 200, 300)];
    const rulesWith = (maxOverlapMs: number) => judge(history, { ...limits, maxOverlapMs }).violations.map(({ rule }) => rule);

    expect([rulesWith(0), rulesWith(199), rulesWith(201)]).toEqual([['overlap'], ['overlap'], []]);
  });

  test('counts faults, losses and writes that were refused', () => {
    const history = [
      ...holdOf('a.0', 'x', 5, 100, 190).slice(0, 3),
      line(200, 'leader', { step: 'fault', what: 'frozen' }),
      line(250, 'a.0', { step: 'lost', reason: 'expired', aborted: true }),
      added(260, 'a.0', 5, 0, 'refused'),
      total(0),
    ];

    const { violations, figures } = judge(history, limits);

    expect(violations).toEqual([]);
    expect(figures).toMatchObject({ faults: 1, locks: 1, losses: 1, increments: 0, refusedWrites: 1 });
  });

  test('finds an overlap of two exclusive holders', () => {
    expect(rulesOf(...holdOf('a.0', 'x', 5, 100, 300), ...holdOf('b.0', 'x', 8, 299, 400))).toEqual(['overlap']);
  });

  test('finds an overlap within one process', () => {
    expect(rulesOf(...holdOf('a.0', 'x', 5, 100, 300), ...holdOf('a.1', 'x', 8, 299, 400))).toEqual(['overlap']);
  });

  test('counts a hold only up to its last line that is certain', () => {
    const dead = holdOf('a.0', 'x', 5, 100, 200).slice(0, 3);
    expect(rulesOf(...dead, line(201, 'a', { step: 'killed' }), ...holdOf('b.0', 'x', 8, 202, 400))).toEqual([]);
  });

  test('counts a hold that a woken process still reads as certain', () => {
    const frozen = holdOf('a.0', 'x', 5, 100, 200).slice(0, 3);
    expect(rulesOf(...frozen, ...holdOf('b.0', 'x', 8, 250, 300), line(350, 'a.0', { step: 'certain' }))).toEqual(['overlap']);
  });

  test('accepts holders of one kind up to their slots', () => {
    const shared = [...holdOf('a.0', 's', 8, 100, 300, null), ...holdOf('b.0', 's', 5, 150, 300, null)];
    const slots = [...holdOf('a.1', 'm', 6, 100, 300, 2), ...holdOf('b.1', 'm', 7, 150, 300, 2)];
    expect(rulesOf(...shared, ...slots)).toEqual([]);
  });

  test('finds an overlap of a shared and an exclusive holder', () => {
    expect(rulesOf(...holdOf('a.0', 'x', 5, 100, 300, null), ...holdOf('b.0', 'x', 8, 200, 400))).toEqual(['overlap']);
  });

  test('finds three holders of a semaphore of two', () => {
    const three = [1, 2, 3].map((n) => holdOf(`a.${String(n)}`, 'x', n, 100 + n, 300, 2));
    expect(rulesOf(...three.flat())).toEqual(['overlap']);
  });

  test('finds an overlap in one name of a lockAll', () => {
    const holds = ['x', 'y'].map((name) => ({ name, token: '5', slots: 1 }));
    const both = [line(100, 'a.0', { step: 'held', holds }), line(300, 'a.0', { step: 'certain' })];
    expect(rulesOf(...both, ...holdOf('b.0', 'y', 8, 200, 400))).toEqual(['overlap']);
  });

  test('finds a token that falls, and a repeated token', () => {
    expect(rulesOf(...holdOf('a.0', 'x', 8, 100, 190), ...holdOf('b.0', 'x', 5, 200, 300))).toEqual(['token order']);
    expect(rulesOf(...holdOf('a.0', 'x', 8, 100, 190), ...holdOf('b.0', 'x', 8, 200, 300))).toEqual(['token order']);
  });

  test('finds a token that falls from a shared holder to an exclusive one', () => {
    expect(rulesOf(...holdOf('a.0', 'x', 8, 100, 190, null), ...holdOf('b.0', 'x', 5, 200, 300))).toEqual(['token order']);
  });

  test('finds a lock that is certain again after its loss or release', () => {
    const lost = line(150, 'a.0', { step: 'lost', reason: 'expired', aborted: true });
    expect(rulesOf(...holdOf('a.0', 'x', 5, 100, 140).slice(0, 3), lost, line(160, 'a.0', { step: 'certain' }))).toEqual(['final']);
    expect(rulesOf(...holdOf('a.0', 'x', 5, 100, 140), line(160, 'a.0', { step: 'certain' }))).toEqual(['final']);
  });

  test('finds a loss without an abort of the signal', () => {
    expect(rulesOf(line(150, 'a.0', { step: 'lost', reason: 'expired', aborted: false }))).toEqual(['signal']);
  });

  test('finds an increment that another one overwrote', () => {
    expect(rulesOf(added(100, 'a.0', 5, 0), added(200, 'b.0', 8, 0), total(1))).toEqual(['lost increment']);
  });

  test('finds a missing increment at the end, and a value that no client wrote', () => {
    expect(rulesOf(added(100, 'a.0', 5, 0), added(200, 'b.0', 8, 1), total(1))).toEqual(['lost increment']);
    expect(rulesOf(added(100, 'a.0', 5, 0), added(200, 'b.0', 8, 2), total(3))).toEqual(['lost increment']);
  });

  test('accepts either outcome of an increment whose writer was killed meanwhile', () => {
    const unconfirmed = line(200, 'b.0', { step: 'adding', name: 'x', before: 1 });
    expect(rulesOf(added(100, 'a.0', 5, 0), unconfirmed, added(300, 'c.0', 9, 2), total(3))).toEqual([]);
    expect(rulesOf(added(100, 'a.0', 5, 0), unconfirmed, total(1))).toEqual([]);
    expect(rulesOf(added(100, 'a.0', 5, 0), unconfirmed, added(210, 'b.0', 8, 1, 'refused'), added(300, 'c.0', 9, 2), total(3))).toEqual([
      'lost increment',
    ]);
  });

  test('accepts either outcome of an increment of unknown outcome', () => {
    const unknown = added(200, 'b.0', 8, 1, 'unknown');
    expect(rulesOf(added(100, 'a.0', 5, 0), unknown, total(1))).toEqual([]);
    expect(rulesOf(added(100, 'a.0', 5, 0), unknown, total(2))).toEqual([]);
    expect(rulesOf(added(100, 'a.0', 5, 0), unknown, added(300, 'c.0', 9, 2), total(3))).toEqual([]);
    expect(rulesOf(added(100, 'a.0', 5, 0), unknown, total(3))).toEqual(['lost increment']);
  });

  test('finds guarded writes out of the order of the tokens', () => {
    expect(rulesOf(added(100, 'a.0', 8, 0), added(200, 'b.0', 5, 1), total(2))).toEqual(['token order']);
  });

  test('finds an error that no outage explains, of lock() and of release()', () => {
    expect(rulesOf(line(100, 'a.0', { step: 'rejected', code: 'ETCD_UNAVAILABLE' }))).toEqual([]);
    expect(rulesOf(line(100, 'a.0', { step: 'rejected', code: 'ETCD_AUTH' }))).toEqual(['error']);
    expect(rulesOf(line(100, 'a.0', { step: 'release-failed', code: 'ETCD_REFUSED' }))).toEqual(['error']);
  });

  test('finds a process that ended with an error, unless it was killed', () => {
    expect(judgeEnding('a', { code: 0, stderr: '' }, false)).toEqual([]);
    expect(judgeEnding('a', { code: 1, stderr: 'unhandled' }, false)).toMatchObject([{ rule: 'error' }]);
    expect(judgeEnding('a', { code: null, stderr: '' }, false)).toMatchObject([{ rule: 'error' }]);
    expect(judgeEnding('a', { code: null, stderr: '' }, true)).toEqual([]);
  });

  test('finds states out of order, and a holder with an old token', () => {
    const state = (at: number, revision: number, ...holders: string[]) =>
      line(at, 'w.0', { step: 'state', name: 'x', revision: String(revision), holders });
    expect(rulesOf(state(1, 5, '5'), state(2, 6), state(3, 8, '8'))).toEqual([]);
    expect(rulesOf(state(1, 8, '8'), state(2, 7))).toEqual(['state order']);
    expect(rulesOf(state(1, 5, '5'), state(2, 8, '8'), state(3, 9, '5'))).toEqual(['state order']);
  });
});

describe('the time without a holder', () => {
  const wants = (at: number, client: string) => line(at, client, { step: 'requested', names: ['x'] });
  const history = [...holdOf('a.0', 'x', 5, 100, 190), wants(150, 'b.0')];
  const gapOf = (...events: Event[]) => judge(events, limits).figures.longestGapMs;

  test('is a violation above its bound', () => {
    const late = holdOf('b.0', 'x', 8, 1_191, 1_300).slice(1);
    expect(rulesOf(...history, ...late)).toEqual(['liveness']);
    expect(judge([...history, ...late], { boundMs: 1_001 })).toMatchObject({ violations: [], figures: { longestGapMs: 1_001 } });
  });

  test('is a violation if no client ever acquires the name', () => {
    expect(rulesOf(...history, line(1_191, 'b.0', { step: 'abandoned' }))).toEqual(['liveness']);
    expect(rulesOf(...history, line(1_191, '-', { step: 'fault', what: 'none' }))).toEqual(['liveness']);
  });

  test('continues over calls that reject', () => {
    const failing = [300, 600, 900].map((at) => line(at, 'b.0', { step: 'rejected', code: 'ETCD_UNAVAILABLE' }));
    expect(gapOf(...history, ...failing, ...holdOf('b.0', 'x', 8, 990, 1_000).slice(1))).toBe(800);
  });

  test('does not count while no client wants the name', () => {
    expect(gapOf(...holdOf('a.0', 'x', 5, 100, 190), ...holdOf('b.0', 'x', 8, 5_000, 5_100))).toBe(10);
  });

  test('does not count while the only client that wants the name is frozen or dead', () => {
    const frozen = [line(200, 'b', { step: 'frozen' }), line(4_000, 'b', { step: 'woken' })];
    expect(gapOf(...history, ...frozen, ...holdOf('b.0', 'x', 8, 4_030, 4_100).slice(1))).toBe(30);
    expect(gapOf(...history, line(200, 'b', { step: 'killed' }), ...holdOf('c.0', 'x', 8, 5_000, 5_100))).toBe(10);
    expect(gapOf(...history, line(200, 'b', { step: 'frozen' }), line(300, 'b', { step: 'killed' }), total(0))).toBe(10);
  });

  test('counts while one of several clients that want the name is frozen', () => {
    const frozen = [line(200, 'b', { step: 'frozen' }), line(700, 'b', { step: 'woken' })];
    expect(gapOf(...history, wants(160, 'c.0'), ...frozen, ...holdOf('c.0', 'x', 9, 800, 900).slice(1))).toBe(610);
  });
});
