/** docs/benchmarks.md: the same tables, with what is needed to read and to repeat them. */
import { readFile } from 'node:fs/promises';
import { charts } from './charts.ts';
import { goalsTable } from './goals.ts';
import { remarksFile } from './paths.ts';
import type { Results } from './results.ts';
import { tablesOf, type Table } from './tables.ts';
import { holdMs } from './workloads/delay.ts';
import { ttlSeconds, type Sizes } from './workloads/workload.ts';

export interface RunInfo {
  readonly machine: readonly (readonly [string, string])[];
  readonly notes: readonly string[];
  readonly sizes: Sizes;
  readonly isQuick: boolean;
}

export async function document(results: Results, info: RunInfo): Promise<string> {
  const remarks = await readFile(remarksFile, 'utf8').catch(() => '');
  const date = new Date().toISOString().slice(0, 10);
  const sections = [
    '# Benchmarks',
    intro(info, date),
    ...section('Goals', [inMarkdown(goalsTable(results)), remarks.trim()]),
    ...section('Charts', charts(results)),
    ...section(
      'Figures',
      tablesOf(results).map((table) => `**${table.title}**\n\n${inMarkdown(table)}`),
    ),
    ...section('What was measured', [measurements(info.sizes)]),
    ...section('The machine', [inMarkdown({ title: '', headings: ['', ''], rows: info.machine }), ...info.notes]),
    ...section('How to repeat it', [repeat]),
  ];
  return `${sections.join('\n\n')}\n`;
}

function section(heading: string, paragraphs: readonly string[]): string[] {
  return [`## ${heading}`, ...paragraphs.filter((paragraph) => paragraph !== '')];
}

function intro({ isQuick, sizes }: RunInfo, date: string): string {
  const run = isQuick ? 'a quick run, with small numbers' : `${sizes.rounds} rounds of each workload`;
  return `Written by \`npm run bench\` on ${date}: ${run}. All rivals share one machine and one etcd and take turns, so the
**ratios** can be compared; the times are those of this machine.`;
}

function measurements({ rounds, ms, warmUpMs, warmUps, handOvers, queueRounds }: Sizes): string {
  return `Each rival works in processes of its own. In a round they take their turns one after the other, each for ${ms} ms (of which the
last operations may take a little more), then the next round begins: ${rounds} rounds, after one that is not counted, of ${warmUpMs} ms and
${warmUps} locks of each client before it: code is compiled then, as it is in a process that has run for a while. Every workload has a fresh etcd that waits for the disk. For each turn clients and sessions are opened before the clock starts and closed after it has
stopped, and the turn fails if a key or a lease is left. All processes begin at one instant, and TTLs are ${ttlSeconds} s, so that no renewal falls into
what is counted.

- **etcd-locker**: this library, from its source, with its defaults but for the TTL.
- **etcd3 Lock**: \`client.lock(name)\` of etcd3. It cannot wait; where the name is taken it is tried again after a random pause of 1 to 10 ms.
- **Go concurrency**: \`NewMutex\` of Go's clientv3/concurrency, from \`tests/bench/go\`. One session for all names of a process; where several
  callers of one process want the same name each has its own, as two mutexes of one session would both hold it.
- **raw floor**: transactions through etcd3, without any care. Alone and on different names two of them: put if absent, with a lease, then
  delete if still the same. On a hot name one transaction a turn, one at a time, from a single process: delete the old entry, put the new. For tryLock
  a put if absent that fails; for inspect a linearizable read of the queue.

The workloads:

- **one at a time**: one caller locks and releases a name of its own.
- **each held for 50 ms**: the same, seldom: its processor time is that of a process which rests between its turns.
- **16, 64, 256 at once**: so many callers of one process, each with a name of its own.
- **one hot name**: 2, 8 and 32 processes with a client and a session each want the same name and release it at once; 2, 8 and 32 clients of one process do; and 32
  callers of one client (Go: a session for each).
- **32 readers at once and a writer between**: 33 callers of one client want the same name, one of them alone, the others together
  (\`mode: 'shared'\`; Go: \`RWMutex\` of etcd's recipes, a session for each). Counted are the turns of all of them.
- **tryLock**, **inspect**: of a name that another session holds, one at a time.
- **release → next waiter holds**: two processes take turns and hold for ${holdMs} ms; from the call of \`release()\` in one until \`lock()\` has resolved in the
  other, ${handOvers} times a round. Beside it a raw put, once every ${holdMs} ms as well, and raw puts in a row.
- **release → state seen elsewhere**: one process locks, holds for ${holdMs} ms and releases; another is told by \`watch()\` (etcd3: its watcher) that nobody holds.
- **many waiters**: so many clients in two or four processes, each with its own session; who had its turn joins again at the end. Before
  the first turn all of them wait for three seconds, in which calls and messages on streams are counted. ${queueRounds} rounds.
- **locks held at once**: taken 128 at a time; memory after garbage collection, less that before.
- **3 members**: a cluster of three on the same machine, all of them as hosts.

_Requests_ are counted by etcd itself (its \`/metrics\`): unary calls, and the messages that clients sent on streams. They do not depend on the
machine. _Processor time_ is that of the processes that lock, and of etcd.`;
}

const repeat = `\`\`\`sh
npm ci
npm run bench                        # all of it, on a machine that does nothing else; writes this page
npm run bench -- --quick             # small numbers, to see that it works
npm run bench -- --only hot --rounds 3
\`\`\`

etcd is found as the tests find it ([testing.md](testing.md)). Go takes part where \`go\` is on PATH and can fetch its modules.`;

function inMarkdown({ headings, rows }: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(headings), line(headings.map(() => '---')), ...rows.map(line)].join('\n');
}
