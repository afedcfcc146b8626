/** Writes docs/benchmarks.md: the tables, their explanation, and how to repeat the run. */
import { readFile } from 'node:fs/promises';
import { charts } from './charts.ts';
import { goalsTable } from './goals.ts';
import { remarksFile } from './paths.ts';
import type { Results } from './results.ts';
import { summary } from './summary.ts';
import { tablesOf, type Table } from './tables.ts';
import { holdMs } from './workloads/delay.ts';
import { leadInMs } from './workloads/rate.ts';
import { ttlSeconds, type Sizes } from './workloads/workload.ts';

export interface RunInfo {
  readonly machine: readonly (readonly [string, string])[];
  readonly notes: readonly string[];
  readonly sizes: Sizes;
  readonly isQuick: boolean;
  /** The version of the etcd that ran all workloads. */
  readonly version: string;
  readonly date: string;
  readonly minutes: number;
}

export async function document(results: Results, info: RunInfo): Promise<string> {
  const remarks = await readFile(remarksFile, 'utf8').catch(() => '');
  const sections = [
    '# Benchmarks',
    summary(results).join('\n'),
    intro(info),
    ...section('Goals', [inMarkdown(goalsTable(results)), remarks.trim()]),
    ...section('Charts', charts(results)),
    ...section(
      'Figures',
      tablesOf(results, info.version).map((table) => `**${table.title}**\n\n${inMarkdown(table)}`),
    ),
    ...section('What was measured', [measurements(info.sizes, info.version)]),
    ...section('The machine', [inMarkdown({ title: '', headings: ['', ''], rows: info.machine }), ...info.notes]),
    ...section('How to repeat it', [repeat]),
  ];
  return `${sections.join('\n\n')}\n`;
}

function section(heading: string, paragraphs: readonly string[]): string[] {
  return [`## ${heading}`, ...paragraphs.filter((paragraph) => paragraph !== '')];
}

function intro({ isQuick, sizes, date, minutes }: RunInfo): string {
  const run = isQuick
    ? 'a quick run with small numbers'
    : `${sizes.rounds} rounds (many waiters: ${sizes.queueRounds}), ${minutes} minutes in all`;
  return `Written by \`npm run bench\` on ${date}: ${run}.

All rivals use the same machine and the same etcd, one after the other. So the **ratios** can be
compared. The absolute times depend on the machine. A ratio is computed within each round. A goal is
_met_ if three quarters of the rounds reach it, and _missed_ if three quarters do not. Between the
two it is _open_.`;
}

function measurements({ rounds, ms, hotMs, warmUpMs, warmUps, handOvers, recalls, queueRounds }: Sizes, version: string): string {
  return `Each rival has its own worker processes. Every workload has a new etcd ${version} that syncs to disk.
In each of the ${rounds} rounds, the rivals run one after the other, and each round begins with
another rival. A rival has ${ms} ms, or ${hotMs} ms for a hot name, or ${2 * hotMs} ms for a hot
name that is 5 ms away. Its last operations may take a little longer. A warm-up round of
${warmUpMs} ms, with up to ${warmUps} locks before it, is not counted: V8 compiles the code in this
time. Clients and sessions are opened before the clock starts and closed after it has stopped. A
round fails if it leaves a key or a lease. All processes start at the same time. The TTL is
${ttlSeconds} s, so that no renewal is counted.

- **etcd-locker**: this library from its source, with default options except the TTL.
- **tree before**: the source of an older commit, measured by the same workers (\`--before\`).
- **etcd3 Lock**: \`client.lock(name)\` of etcd3. It cannot wait. If the name is taken, it is tried
  again after a random pause of 1 to 10 ms.
- **Go 3.6**, **Go 3.7**: \`NewMutex\` of Go's clientv3/concurrency, from \`tests/bench/go\`, in the
  versions of the table below. One session for all names of a process. Several callers of the same
  name have a session each, because two mutexes of one session would both hold the name.
- **raw floor**: transactions through etcd3 without error handling. Alone and on different names it
  makes two: put the key with a lease if it is absent, then delete it if it is unchanged. On a hot
  name, one process makes one transaction for each hold, which deletes the old entry and puts the
  new one. For tryLock it is a put-if-absent that fails.

The workloads:

- **one at a time**: one caller locks and releases its own name.
- **each held for 50 ms**: the same with pauses. It shows the processor time of a process that is
  idle between its locks.
- **16, 256 at once**: this number of callers of one process, each with its own name.
- **kept**: one caller locks and releases with \`keepMs\`. It has held each of its names once before
  the clock starts. Go does the same work without a cache.
- **another process wants a kept lock**: one process keeps a name. Another process without
  \`keepMs\` locks it, and then locks a free name after the same pause, ${recalls} times per round.
- **1 ms, 5 ms each way**: all rivals reach etcd through a proxy in a process of its own, which
  delays the data of each direction by this time. The callers lock the name for ${leadInMs} ms
  before the clock starts, because the first turns open the streams of a client. The same round
  measures a raw put through the proxy: one round trip and one commit, the least that a hand-over by
  a server can cost. A read of one member shows the round trip alone. Pings through the proxy and
  past it show the added delay.
- **one hot name**: 2, 8 and 32 processes, each with a client and a session, lock the same name and
  release it at once. The same with 2, 8 and 32 clients of one process, and with 32 callers of one
  client (Go: a session for each caller).
- **32 readers at once and a writer between**: 33 callers of one client lock the same name, one of
  them exclusively, the others shared (\`mode: 'shared'\`; Go: \`RWMutex\` of etcd's recipes, a
  session for each caller). The locks of all callers are counted.
- **tryLock**: on a name that another session holds, one call at a time.
- **release → next waiter holds**: two processes alternate and hold for ${holdMs} ms. Measured from
  the call of \`release()\` in one process until \`lock()\` resolves in the other, ${handOvers}
  times per round. For comparison: a raw put every ${holdMs} ms, and raw puts in a row.
- **release → state seen elsewhere**: one process locks, holds for ${holdMs} ms and releases.
  Measured until \`watch()\` (etcd3: its watcher) in another process reports the name as free.
- **many waiters**: clients in two or four processes, each with its own session. A client enqueues
  again after its hold. The delay is the time from a release to the next holder: median, 99th
  percentile, longest. Before the first hold all clients wait for three seconds, in which calls and
  messages on streams are counted. ${queueRounds} rounds.
- **locks held at once**: acquired 128 at a time. The memory is the difference between two garbage
  collections, before and after.
- **import**: a process that imports the built package, minus an empty process just before it.
- **3 members**: a cluster of three members on the same machine. All of them are hosts.
- **servers**: the main workloads again, on other versions of etcd.

etcd counts the _requests_ itself (in its \`/metrics\`): unary calls, and messages of clients on
streams. They do not depend on the machine. _Processor time_ is the time of the processes that lock,
and of etcd.`;
}

const repeat = `\`\`\`sh
npm ci
npm run bench                        # everything, about 22 minutes on idle cores; writes this page
npm run bench -- --quick             # small numbers, for a check that the bench works
npm run bench -- --only hot --rounds 3
npm run bench -- --etcd 3.6,3.7      # lines, versions or files; the first runs all workloads
npm run bench -- --before ../older   # a checkout of an older commit, with its node_modules
npm run bench -- --page              # writes this page again from the last results
\`\`\`

The bench finds etcd like the tests do ([testing.md](testing.md)). Go takes part if \`go\` is on
PATH and can download its modules. etcd 3.6 and 3.7 are then built from their modules.`;

function inMarkdown({ headings, rows }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(headings), line(headings.map(() => '---')), ...rows.map(line)].join('\n');
}
