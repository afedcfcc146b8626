/** `npm run bench`: measures the library and its rivals on the same etcd. Prints the results. A full run also writes docs/benchmarks.md. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describeEtcd, type EtcdSource } from '../support/etcd/etcd.ts';
import { help, readArguments, type Arguments } from './arguments.ts';
import { describeMachine } from './machine.ts';
import { document, type RunInfo } from './markdown.ts';
import { cacheDir, documentFile, resultsFile } from './paths.ts';
import { terminalReport } from './report.ts';
import { noResults, type Results } from './results.ts';
import { buildGo, type Go } from './rivals/go.ts';
import { findServer, withoutTwins } from './servers.ts';
import { allWorkloads } from './workloads/list.ts';
import type { Bench, Workload } from './workloads/workload.ts';

async function runBench(args: Arguments): Promise<void> {
  const startedAt = performance.now();
  const workloads = choose(allWorkloads(args.sizes), args.only);
  const before = findTreeBefore(args.before);
  const notes: string[] = [];
  const servers = await findServers(args.servers, notes);
  const [etcd, ...others] = servers;
  const go: Go = args.wantsGo ? await buildGo() : { programs: null, reason: '--no-go' };
  if (go.programs === null) notes.push(`Go is left out: ${go.reason}`);
  if (etcd.kind === 'endpoints') notes.push('This etcd is shared: requests and leases of other clients may be counted');
  const machine = await describeMachine(servers, go, before);

  const results = noResults();
  const bench: Bench = { sizes: args.sizes, etcd, results, go: go.programs, before, without: [] };
  await runWorkloads(workloads, bench, notes);
  for (const other of others) {
    const server = { version: other.version, results: noResults() };
    results.servers.push(server);
    const main = workloads.filter(({ isMain }) => isMain);
    await runWorkloads(main, { ...bench, etcd: other, results: server.results, without: ['before', 'etcd3', 'floor'] }, notes);
  }

  console.log(`\n${terminalReport(results, etcd.version, notes)}\n`);
  log(`Done in ${seconds(startedAt)}`);
  const minutes = Math.round((performance.now() - startedAt) / 60_000);
  const date = new Date().toISOString().slice(0, 10);
  const run: Run = { results, info: { machine, notes, sizes: args.sizes, isQuick: args.isQuick, version: etcd.version, date, minutes } };
  if (args.wantsDocument) await save(run);
  if (args.wantsDocument && process.exitCode === undefined) await writePage(run);
}

function findTreeBefore(folder: string | null): string | null {
  if (folder === null) return null;
  const found = resolve(folder);
  if (existsSync(join(found, 'src', 'index.ts'))) return found;
  throw new Error(`Cannot take --before: ${folder} has no src/index.ts, expected a checkout with its node_modules`);
}

async function findServers(wanted: readonly string[], notes: string[]): Promise<[EtcdSource, ...EtcdSource[]]> {
  const [first = '', ...others] = wanted;
  const servers: EtcdSource[] = [await findServer(first)];
  for (const other of others) {
    try {
      servers.push(await findServer(other));
    } catch (error) {
      notes.push(`etcd ${other} is left out: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  for (const server of servers) log(`Using ${describeEtcd(server)}`);
  return withoutTwins(servers) as [EtcdSource, ...EtcdSource[]];
}

/** Runs them on one server. A workload that fails keeps the results of the others. */
async function runWorkloads(workloads: readonly Workload[], bench: Bench, notes: string[]): Promise<void> {
  for (const workload of workloads) {
    const title = `${workload.name} on ${bench.etcd.version}`;
    if (workload.nodes > 1 && bench.etcd.kind !== 'binary') {
      notes.push(`${title} is left out: this machine cannot start a cluster`);
      continue;
    }
    const startedAt = performance.now();
    try {
      await workload.run(bench);
      log(`${title}: done in ${seconds(startedAt)}`);
    } catch (error) {
      fail(error);
      notes.push(`${title} failed`);
    }
  }
}

interface Run {
  readonly results: Results;
  readonly info: RunInfo;
}

async function save(run: Run): Promise<void> {
  await mkdir(cacheDir, { recursive: true });
  await writeFile(resultsFile, JSON.stringify(run));
}

async function writePage({ results, info }: Run): Promise<void> {
  await writeFile(documentFile, await document(results, info));
}

async function writePageAgain(): Promise<void> {
  const text = await readFile(resultsFile, 'utf8').catch(() => null);
  if (text === null) throw new Error('Cannot write the page: there is no full run whose results were saved');
  await writePage(JSON.parse(text) as Run);
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
  else if (asked.isPageOnly) await writePageAgain();
  else await runBench(asked);
} catch (error) {
  fail(error);
}
