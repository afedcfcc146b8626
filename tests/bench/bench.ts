/** `npm run bench`: measures the library and its rivals on the same etcd. Prints the results. A full run also writes docs/benchmarks.md. */
import { writeFile } from 'node:fs/promises';
import { canControlServers, describeEtcd, findEtcd, shareEtcd } from '../support/etcd/etcd.ts';
import { help, readArguments, type Arguments } from './arguments.ts';
import { describeMachine } from './machine.ts';
import { document } from './markdown.ts';
import { documentFile } from './paths.ts';
import { terminalReport } from './report.ts';
import type { Results } from './results.ts';
import { buildGo, type Go } from './rivals/go.ts';
import { allWorkloads } from './workloads/list.ts';
import type { Workload } from './workloads/workload.ts';

async function runBench(args: Arguments): Promise<void> {
  const startedAt = performance.now();
  const workloads = choose(allWorkloads(args.sizes), args.only);
  const etcd = await findEtcd();
  shareEtcd(etcd);
  log(`Using ${describeEtcd(etcd)}`);
  const go: Go = args.wantsGo ? await buildGo() : { program: null, reason: '--no-go' };
  const notes: string[] = [];
  if (etcd.kind === 'endpoints') notes.push('This etcd is shared: requests and leases of other clients may be counted');
  const machine = await describeMachine(go);

  const results: Results = { rates: [], delays: [], queues: [] };
  for (const workload of workloads) {
    if (workload.nodes > 1 && !(await canControlServers())) {
      notes.push(`${workload.name} is left out: this machine cannot start a cluster`);
      continue;
    }
    const workloadStartedAt = performance.now();
    try {
      await workload.run({ sizes: args.sizes, results, goProgram: go.program });
      log(`${workload.name}: done in ${seconds(workloadStartedAt)}`);
    } catch (error) {
      // Keeps the results of the other workloads.
      fail(error);
      notes.push(`${workload.name} failed`);
    }
  }

  console.log(`\n${terminalReport(results, [...(go.program === null ? [`Go is left out: ${go.reason}`] : []), ...notes])}\n`);
  log(`Done in ${seconds(startedAt)}`);
  if (args.wantsDocument && process.exitCode === undefined) {
    await writeFile(documentFile, await document(results, { machine, notes, sizes: args.sizes, isQuick: args.isQuick }));
  }
}

function choose(workloads: readonly Workload[], only: readonly string[]): readonly Workload[] {
  const chosen = workloads.filter(({ name }) => only.length === 0 || only.some((one) => name === one || name.startsWith(`${one}-`)));
  if (chosen.length > 0) return chosen;
  throw new Error(`--only takes ${workloads.map(({ name }) => name).join(', ')}, or a prefix of one`);
}

/** Prints to standard error, because standard output has the report. */
function log(line: string): void {
  console.error(line);
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1_000).toFixed(1)} s`;
}

function fail(error: unknown): void {
  console.error(error instanceof Error ? (error.stack ?? error.message) : error);
  process.exitCode = 1;
}

try {
  const asked = readArguments(process.argv.slice(2));
  if (asked.wantsHelp) console.log(help);
  else await runBench(asked);
} catch (error) {
  fail(error);
}
