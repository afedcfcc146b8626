/** The judge finds what it is there for: each rule is broken once, by a history that keeps all others. */
import { describe, expect, test } from 'vitest';
import type { Deed, Event } from './history.ts';
import { judge, judgeEnding, type Terms } from './judge.ts';

const terms: Terms = { boundMs: 1_000 };
const line = (at: number, client: string, deed: Deed): Event => ({ at, client, ...deed });

/** One whole turn, certain from `from` to `until`. */
function turn(client: string, name: string, token: number, from: number, until: number, slots: number | null = 1): Event[] {
  return [
    line(from - 10, client, { step: 'asked', names: [name] }),
    line(from, client, { step: 'held', holds: [{ name, token: String(token), slots }] }),
    line(until, client, { step: 'certain' }),
    line(until + 1, client, { step: 'releasing' }),
    line(until + 2, client, { step: 'released' }),
  ];
}
const added = (at: number, client: string, token: number, before: number, outcome: 'written' | 'refused' | 'unknown' = 'written') =>
  line(at, client, { step: 'added', name: 'x', token: String(token), before, outcome });
const total = (value: number) => line(9_000, '-', { step: 'total', name: 'x', value });
const rulesOf = (...history: Event[]) => judge(history, terms).violations.map(({ rule }) => rule);

describe('the judge', () => {
  test('finds nothing in turns one after the other, in whichever order they are told', () => {
    const history = [
      ...turn('b.0', 'x', 8, 200, 300),
      ...turn('a.0', 'x', 5, 100, 190),
      added(150, 'a.0', 5, 0),
      added(250, 'b.0', 8, 1),
      total(2),
    ];

    const { violations, figures } = judge(history, terms);

    expect(violations).toEqual([]);
    expect(figures).toEqual({ faults: 0, locks: 2, losses: 0, increments: 2, refusedWrites: 0, longestGapMs: 10 });
  });

  test('lets an overlap be as long as the terms say, and no longer', () => {
    const history = [...turn('a.0', 'x', 5, 100, 400), ...turn('b.0', 'x', 8, 200, 300)];
    const found = (mostOverlapMs: number) => judge(history, { ...terms, mostOverlapMs }).violations.map(({ rule }) => rule);

    expect([found(0), found(199), found(201)]).toEqual([['overlap'], ['overlap'], []]);
  });

  test('counts faults, losses and writes that were refused', () => {
    const history = [
      ...turn('a.0', 'x', 5, 100, 190).slice(0, 3),
      line(200, 'leader', { step: 'fault', what: 'frozen' }),
      line(250, 'a.0', { step: 'lost', reason: 'expired', aborted: true }),
      added(260, 'a.0', 5, 0, 'refused'),
      total(0),
    ];

    const { violations, figures } = judge(history, terms);

    expect(violations).toEqual([]);
    expect(figures).toMatchObject({ faults: 1, locks: 1, losses: 1, increments: 0, refusedWrites: 1 });
  });

  test('finds an overlap of two exclusive holders', () => {
    expect(rulesOf(...turn('a.0', 'x', 5, 100, 300), ...turn('b.0', 'x', 8, 299, 400))).toEqual(['overlap']);
  });

  test('finds an overlap within one process', () => {
    expect(rulesOf(...turn('a.0', 'x', 5, 100, 300), ...turn('a.1', 'x', 8, 299, 400))).toEqual(['overlap']);
  });

  test('takes no hold for longer than it is told to have been certain', () => {
    const dead = turn('a.0', 'x', 5, 100, 200).slice(0, 3);
    expect(rulesOf(...dead, line(201, 'a', { step: 'killed' }), ...turn('b.0', 'x', 8, 202, 400))).toEqual([]);
  });

  test('takes a woken process at its word', () => {
    const frozen = turn('a.0', 'x', 5, 100, 200).slice(0, 3);
    expect(rulesOf(...frozen, ...turn('b.0', 'x', 8, 250, 300), line(350, 'a.0', { step: 'certain' }))).toEqual(['overlap']);
  });

  test('lets those hold together that may', () => {
    const shared = [...turn('a.0', 's', 8, 100, 300, null), ...turn('b.0', 's', 5, 150, 300, null)];
    const slots = [...turn('a.1', 'm', 6, 100, 300, 2), ...turn('b.1', 'm', 7, 150, 300, 2)];
    expect(rulesOf(...shared, ...slots)).toEqual([]);
  });

  test('finds an overlap of a shared and an exclusive holder', () => {
    expect(rulesOf(...turn('a.0', 'x', 5, 100, 300, null), ...turn('b.0', 'x', 8, 200, 400))).toEqual(['overlap']);
  });

  test('finds three holders of a semaphore of two', () => {
    const three = [1, 2, 3].map((n) => turn(`a.${String(n)}`, 'x', n, 100 + n, 300, 2));
    expect(rulesOf(...three.flat())).toEqual(['overlap']);
  });

  test('finds an overlap through one of the names of a lockAll', () => {
    const holds = ['x', 'y'].map((name) => ({ name, token: '5', slots: 1 }));
    const both = [line(100, 'a.0', { step: 'held', holds }), line(300, 'a.0', { step: 'certain' })];
    expect(rulesOf(...both, ...turn('b.0', 'y', 8, 200, 400))).toEqual(['overlap']);
  });

  test('finds a token that falls, and one that comes twice', () => {
    expect(rulesOf(...turn('a.0', 'x', 8, 100, 190), ...turn('b.0', 'x', 5, 200, 300))).toEqual(['token order']);
    expect(rulesOf(...turn('a.0', 'x', 8, 100, 190), ...turn('b.0', 'x', 8, 200, 300))).toEqual(['token order']);
  });

  test('finds a token that falls from a shared holder to an exclusive one', () => {
    expect(rulesOf(...turn('a.0', 'x', 8, 100, 190, null), ...turn('b.0', 'x', 5, 200, 300))).toEqual(['token order']);
  });

  test('finds a lock that comes back after its loss or its release', () => {
    const lost = line(150, 'a.0', { step: 'lost', reason: 'expired', aborted: true });
    expect(rulesOf(...turn('a.0', 'x', 5, 100, 140).slice(0, 3), lost, line(160, 'a.0', { step: 'certain' }))).toEqual(['final']);
    expect(rulesOf(...turn('a.0', 'x', 5, 100, 140), line(160, 'a.0', { step: 'certain' }))).toEqual(['final']);
  });

  test('finds a loss that the signal does not tell', () => {
    expect(rulesOf(line(150, 'a.0', { step: 'lost', reason: 'expired', aborted: false }))).toEqual(['signal']);
  });

  test('finds an increment that was lost to another', () => {
    expect(rulesOf(added(100, 'a.0', 5, 0), added(200, 'b.0', 8, 0), total(1))).toEqual(['lost increment']);
  });

  test('finds an increment that is missing in the end, and one that nobody made', () => {
    expect(rulesOf(added(100, 'a.0', 5, 0), added(200, 'b.0', 8, 1), total(1))).toEqual(['lost increment']);
    expect(rulesOf(added(100, 'a.0', 5, 0), added(200, 'b.0', 8, 2), total(3))).toEqual(['lost increment']);
  });

  test('lets an increment be there or not whose writer was killed before it could tell', () => {
    const unheard = line(200, 'b.0', { step: 'adding', name: 'x', before: 1 });
    expect(rulesOf(added(100, 'a.0', 5, 0), unheard, added(300, 'c.0', 9, 2), total(3))).toEqual([]);
    expect(rulesOf(added(100, 'a.0', 5, 0), unheard, total(1))).toEqual([]);
    expect(rulesOf(added(100, 'a.0', 5, 0), unheard, added(210, 'b.0', 8, 1, 'refused'), added(300, 'c.0', 9, 2), total(3))).toEqual([
      'lost increment',
    ]);
  });

  test('lets an increment of unknown outcome be there or not', () => {
    const unknown = added(200, 'b.0', 8, 1, 'unknown');
    expect(rulesOf(added(100, 'a.0', 5, 0), unknown, total(1))).toEqual([]);
    expect(rulesOf(added(100, 'a.0', 5, 0), unknown, total(2))).toEqual([]);
    expect(rulesOf(added(100, 'a.0', 5, 0), unknown, added(300, 'c.0', 9, 2), total(3))).toEqual([]);
    expect(rulesOf(added(100, 'a.0', 5, 0), unknown, total(3))).toEqual(['lost increment']);
  });

  test('finds guarded writes in another order than that of the tokens', () => {
    expect(rulesOf(added(100, 'a.0', 8, 0), added(200, 'b.0', 5, 1), total(2))).toEqual(['token order']);
  });

  test('finds an error that no outage explains, on taking and on giving back', () => {
    expect(rulesOf(line(100, 'a.0', { step: 'refused', code: 'ETCD_UNAVAILABLE' }))).toEqual([]);
    expect(rulesOf(line(100, 'a.0', { step: 'refused', code: 'ETCD_AUTH' }))).toEqual(['error']);
    expect(rulesOf(line(100, 'a.0', { step: 'unreleased', code: 'ETCD_REFUSED' }))).toEqual(['error']);
  });

  test('finds a process that ended badly, unless it was killed', () => {
    expect(judgeEnding('a', { code: 0, stderr: '' }, false)).toEqual([]);
    expect(judgeEnding('a', { code: 1, stderr: 'unhandled' }, false)).toMatchObject([{ rule: 'error' }]);
    expect(judgeEnding('a', { code: null, stderr: '' }, false)).toMatchObject([{ rule: 'error' }]);
    expect(judgeEnding('a', { code: null, stderr: '' }, true)).toEqual([]);
  });

  test('finds states out of order, and a holder that comes back', () => {
    const state = (at: number, revision: number, ...holders: string[]) =>
      line(at, 'w.0', { step: 'state', name: 'x', revision: String(revision), holders });
    expect(rulesOf(state(1, 5, '5'), state(2, 6), state(3, 8, '8'))).toEqual([]);
    expect(rulesOf(state(1, 8, '8'), state(2, 7))).toEqual(['state order']);
    expect(rulesOf(state(1, 5, '5'), state(2, 8, '8'), state(3, 9, '5'))).toEqual(['state order']);
  });
});

describe('the time without a holder', () => {
  const wants = (at: number, client: string) => line(at, client, { step: 'asked', names: ['x'] });
  const history = [...turn('a.0', 'x', 5, 100, 190), wants(150, 'b.0')];
  const gapOf = (...events: Event[]) => judge(events, terms).figures.longestGapMs;

  test('is found above its bound', () => {
    const late = turn('b.0', 'x', 8, 1_191, 1_300).slice(1);
    expect(rulesOf(...history, ...late)).toEqual(['liveness']);
    expect(judge([...history, ...late], { boundMs: 1_001 })).toMatchObject({ violations: [], figures: { longestGapMs: 1_001 } });
  });

  test('is found where nobody ever gets it', () => {
    expect(rulesOf(...history, line(1_191, 'b.0', { step: 'gave-up' }))).toEqual(['liveness']);
    expect(rulesOf(...history, line(1_191, '-', { step: 'fault', what: 'none' }))).toEqual(['liveness']);
  });

  test('goes on over calls that fail', () => {
    const failing = [300, 600, 900].map((at) => line(at, 'b.0', { step: 'refused', code: 'ETCD_UNAVAILABLE' }));
    expect(gapOf(...history, ...failing, ...turn('b.0', 'x', 8, 990, 1_000).slice(1))).toBe(800);
  });

  test('does not count while nobody wants it', () => {
    expect(gapOf(...turn('a.0', 'x', 5, 100, 190), ...turn('b.0', 'x', 8, 5_000, 5_100))).toBe(10);
  });

  test('does not count while the only one that wants it is frozen or dead', () => {
    const frozen = [line(200, 'b', { step: 'frozen' }), line(4_000, 'b', { step: 'woken' })];
    expect(gapOf(...history, ...frozen, ...turn('b.0', 'x', 8, 4_030, 4_100).slice(1))).toBe(30);
    expect(gapOf(...history, line(200, 'b', { step: 'killed' }), ...turn('c.0', 'x', 8, 5_000, 5_100))).toBe(10);
    expect(gapOf(...history, line(200, 'b', { step: 'frozen' }), line(300, 'b', { step: 'killed' }), total(0))).toBe(10);
  });

  test('counts while one of several that want it is frozen', () => {
    const frozen = [line(200, 'b', { step: 'frozen' }), line(700, 'b', { step: 'woken' })];
    expect(gapOf(...history, wants(160, 'c.0'), ...frozen, ...turn('c.0', 'x', 9, 800, 900).slice(1))).toBe(610);
  });
});
