/** Tests how the benchmark judges and reports its results, without a run. */
import { expect, test } from 'vitest';
import type { EtcdSource } from '../support/etcd/etcd.ts';
import { readArguments } from './arguments.ts';
import { goalsOf, goalsTable } from './goals.ts';
import { document, type RunInfo } from './markdown.ts';
import { noResults, type RateResult, type Results, type Round } from './results.ts';
import { withoutTwins } from './servers.ts';
import { judge, quartiles, ratios } from './statistics.ts';
import { summary } from './summary.ts';
import { inTurn, runnersOf } from './workloads/workload.ts';

const rounds = (rates: readonly number[], calls: Readonly<Record<string, number>> = {}): Round[] =>
  rates.map((rate) => ({ operations: rate, seconds: 1, cpuMs: 10, serverCpuMs: 10, calls }));

/** Returns the result of a workload in which this library has these ratios to Go. */
const rate = (workload: string, toGo: readonly number[], more: Partial<RateResult> = {}): RateResult => ({
  workload,
  title: workload,
  rounds: {
    locker: rounds(toGo.map((ratio) => Math.round(1_000 * ratio))),
    go: rounds(toGo.map(() => 1_000)),
    go37: rounds(toGo.map(() => 2_000)),
  },
  ...more,
});

/** Returns results with all workloads of the summary: two faster ones, one open, and slower ones. */
function manyResults(): Results {
  const names = [
    'rotation',
    ...[2, 8, 32].flatMap((n) => [`clients-${n}`, `delay-1-${n}`, `delay-5-${n}`, `hot-${n}`]),
    'hot-callers',
    'names-16',
  ];
  return {
    ...noResults(),
    rates: [
      rate('kept', [240, 250, 260, 270]),
      rate('one', [0.6, 0.7, 0.7, 0.8]),
      rate('names-256', [0.8, 0.9, 1.1, 1.2]),
      ...names.map((name, index) => rate(name, index % 3 === 0 ? [0.7, 0.71, 0.72] : [12.1, 12.2, 12.3])),
    ],
    recall: [{ recalled: [2, 3, 4], plain: [1, 2, 3], calls: 9, messages: 6 }],
    servers: [{ version: '3.7.3', results: { ...noResults(), rates: [rate('one', [0.5, 0.5, 0.5])] } }],
  };
}

const etcd: EtcdSource = { kind: 'endpoints', endpoints: [], version: '3.5.30' };

const info: RunInfo = {
  machine: [['cores', '2']],
  notes: [],
  sizes: readArguments([]).sizes,
  isQuick: false,
  version: '3.5.30',
  date: '2026-01-02',
  minutes: 20,
};

test.each([
  ['at least', [5, 5, 6, 7, 8], 'met'],
  ['at least', [1, 5, 6, 7, 8], 'met'],
  ['at least', [1, 2, 5, 6, 7], 'open'],
  ['at least', [1, 2, 3, 4, 9], 'missed'],
  ['at most', [1, 2, 3, 5, 9], 'met'],
  ['at most', [1, 2, 3, 6, 9], 'open'],
  ['at most', [1, 6, 7, 8, 9], 'missed'],
] as const)('a goal of %s 5 with the rounds %j is %s', (direction, values, verdict) => {
  expect(judge(values, 5, direction)).toBe(verdict);
});

test('ratios are those of each round, so a machine that slows down changes none', () => {
  const slower = [1, 0.5, 0.25, 0.125];

  const found = ratios(
    slower.map((speed) => 300 * speed),
    slower.map((speed) => 100 * speed),
  );

  expect(quartiles(found)).toEqual({ lower: 3, median: 3, upper: 3 });
});

test('the first ten lines of the page say what is faster, by how much, and what is slower', async () => {
  const lines = (await document(manyResults(), info)).split('\n');
  const first = lines.slice(0, 10).join('\n');

  expect(first).toMatch(/^# Benchmarks\n\nSpeed as a multiple of Go/);
  expect(first).toMatch(/\*\*Faster:\*\* kept lock again 255 ×/);
  expect(first).toMatch(/\*\*About equal:\*\* 256 names at once 1 ×/);
  expect(first).toMatch(/\*\*Slower:\*\*[^]* one at a time 0.7 ×/);
  expect(first).toMatch(/ Goals: \d+ met, \d+ open, \d+ missed\.$/m);
  expect(lines.filter((line) => line.length > 100 && !line.startsWith('|'))).toEqual([]);
});

test('the summary names the variants of a kind that differ', () => {
  const results = { ...noResults(), rates: [rate('delay-1-2', [11, 11]), rate('delay-1-8', [3, 3]), rate('delay-1-32', [0.5, 0.5])] };

  expect(summary(results)).toEqual([
    "Speed as a multiple of Go's `concurrency.Mutex`. Goals: 2 met, 0 open, 1 missed.",
    '',
    '- **Faster:** 1 ms away, 2/8 clients 11/3 ×.',
    '- **Slower:** 1 ms away, 32 clients 0.5 ×.',
  ]);
});

test('the summary has the waiters of a queue, from their own table', () => {
  const turns = (holdsPerSecond: number) => [{ holdsPerSecond, delays: [], callsWhileWaiting: 0, messagesWhileWaiting: 0 }];
  const queue = (waiters: number, own: number) => ({
    workload: `queue-${String(waiters)}`,
    waiters,
    rounds: { locker: turns(own), go: turns(100) },
  });

  expect(summary({ ...noResults(), queues: [queue(100, 50), queue(1_000, 300)] }).slice(2)).toEqual([
    '- **Faster:** 1000 waiters of a name 3 ×.',
    '- **Slower:** 100 waiters of a name 0.5 ×.',
  ]);
});

test('the time of a turn is compared with a put of the same round', () => {
  const limits = [2, 4].map((putMs) => ({ addedMs: 1, roundTripMs: putMs - 1, putMs }));
  const result = rate('delay-1-2', [1], { limits });
  const turns = { ...result, rounds: { locker: rounds([400, 200]) } };

  const [goal] = goalsOf({ ...noResults(), rates: [turns] }).filter(({ against }) => against === 'one round trip + one commit');

  expect(goal?.found).toMatchObject({ text: '1.25 × (1.25–1.25): 3.75 ms', verdict: 'met' });
});

test('a kept lock that sends a request misses its goal, a message on a watch does not', () => {
  const keptWith = (calls: Readonly<Record<string, number>>) => {
    const results = { ...noResults(), rates: [{ ...rate('kept', [1]), rounds: { locker: rounds([1_000], calls) } }] };
    return goalsTable(results).rows.find(([, against]) => against === 'requests to etcd');
  };

  expect(keptWith({ Watch: 2 })).toEqual(['kept', 'requests to etcd', '0', '0 (0 for 1 000, and 2 messages on watches)', '✓ met']);
  expect(keptWith({ Txn: 1 })).toEqual(['kept', 'requests to etcd', '0', '0.001 (1 for 1 000)', '✗ missed']);
});

test('each round begins with another rival', () => {
  const first = [-1, 0, 1, 2, 3].map((round) => inTurn(['a', 'b', 'c'], round));

  expect(first.map((order) => order.join(''))).toEqual(['abc', 'abc', 'bca', 'cab', 'abc']);
});

test('a rival that takes no part on a server is left out', () => {
  const bench = { sizes: info.sizes, etcd, results: noResults(), go: { go: 'a', go37: 'b' }, before: null, without: ['floor'] } as const;

  const rivals = runnersOf(bench, ['locker', 'before', 'go', 'floor'], { locker: { node: 'kept' } });

  expect(rivals).toEqual([
    ['locker', { node: 'kept' }],
    ['go', { program: 'a' }],
  ]);
});

test('a version of etcd that is asked for twice is measured once', () => {
  expect(withoutTwins([etcd, { ...etcd, version: '3.7.3' }, etcd]).map(({ version }) => version)).toEqual(['3.5.30', '3.7.3']);
});

test('the table of the servers has a row for each version and workload', async () => {
  const page = await document(manyResults(), info);

  expect(page).toMatch(/\| one \| 3\.5\.30 \| 700 \| 0\.700 × .*\|\n\| one \| 3\.7\.3 \| 500 \| 0\.500 × \(0\.500–0\.500\) \| 0\.250 × /);
});
