/** `npm run bench`: the library and its rivals on the same etcd, taking turns. Prints the result; that of a whole run is kept in docs/. */
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

async function runBench(asked: Arguments): Promise<void> {
  const startedAt = performance.now();
  const workloads = choose(allWorkloads(asked.sizes), asked.only);
  const etcd = await findEtcd();
  shareEtcd(etcd);
  tell(`Taking ${describeEtcd(etcd)}`);
  const go: Go = asked.wantsGo ? await buildGo() : { program: null, reason: '--no-go' };
  const notes: string[] = [];
  if (etcd.kind === 'endpoints') notes.push('This etcd is shared: requests and leases may be those of others');
  const machine = await describeMachine(go);

  const results: Results = { rates: [], delays: [], queues: [] };
  for (const workload of workloads) {
    if (workload.nodes > 1 && !(await canControlServers())) {
      notes.push(`${workload.name} is left out: no cluster can be started here`);
      continue;
    }
    const workloadStartedAt = performance.now();
    try {
      await workload.run({ sizes: asked.sizes, results, goProgram: go.program });
      tell(`${workload.name}: done in ${seconds(workloadStartedAt)}`);
    } catch (error) {
      // What the others found out is not lost for it.
      fail(error);
      notes.push(`${workload.name} has failed`);
    }
  }

  console.log(`\n${terminalReport(results, [...(go.program === null ? [`Go is left out: ${go.reason}`] : []), ...notes])}\n`);
  tell(`All done in ${seconds(startedAt)}`);
  if (asked.wantsDocument && process.exitCode === undefined) {
    await writeFile(documentFile, await document(results, { machine, notes, sizes: asked.sizes, isQuick: asked.isQuick }));
  }
}

function choose(workloads: readonly Workload[], only: readonly string[]): readonly Workload[] {
  const chosen = workloads.filter(({ name }) => only.length === 0 || only.some((one) => name === one || name.startsWith(`${one}-`)));
  if (chosen.length > 0) return chosen;
  throw new Error(`--only takes ${workloads.map(({ name }) => name).join(', ')}, or the beginning of some`);
}

/** Not on standard output: that is for the report. */
function tell(line: string): void {
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
