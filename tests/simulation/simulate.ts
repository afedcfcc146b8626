/** `npm run simulate`: runs many seeds, then prints the figures and the shortened history of the first seed that fails. */
import { spawnSync } from 'node:child_process';
import '../support/run/keep-handles.ts';
import { type Arguments, help, readArguments } from './arguments.ts';
import { Figures } from './figures.ts';
import { plant, planted, type Planted } from './planted.ts';
import { figuresReport } from './report.ts';
import { run } from './run.ts';
import { scenarioOf } from './scenario.ts';
import { commandOf, reportOf, shorten } from './shorten.ts';

async function simulate({ runs, from, seconds, reductions, isUntilFound }: Arguments): Promise<number> {
  const startedAt = performance.now();
  const total = new Figures();
  const failed: number[] = [];
  let seed = from;
  for (; seed < from + runs && performance.now() - startedAt < seconds * 1000; seed += 1) {
    const { figures, violation } = await run(scenarioOf(seed, reductions));
    total.add(figures);
    if (violation === undefined) continue;
    failed.push(seed);
    console.log(`seed ${String(seed)}: ${violation.rule}: ${violation.message}`);
    if (isUntilFound) break;
  }
  const ran = seed - from + (isUntilFound && failed.length > 0 ? 1 : 0);
  console.log(figuresReport(ran, failed.length, total, performance.now() - startedAt));
  const [first] = failed;
  if (first !== undefined && !isUntilFound) {
    console.log(`\nShortening seed ${String(first)}...\n${reportOf(first, await shorten(first, reductions))}`);
    console.log(`Failing seeds: ${failed.slice(0, 50).join(' ')}`);
  }
  return failed.length === 0 ? 0 : 1;
}

async function replay(seed: number, { reductions }: Arguments): Promise<number> {
  const { history, violation } = await run(scenarioOf(seed, reductions), true);
  for (const line of history) console.log(line);
  console.log(violation === undefined ? 'No violation' : `${violation.rule}: ${violation.message}\nReplay: ${commandOf(seed, reductions)}`);
  return violation === undefined ? 0 : 1;
}

/** Simulates a scratch copy with the bug in it, in a process of its own. */
function simulatePlanted(bugs: readonly Planted[], { runs, from }: Arguments): number {
  let missed = 0;
  for (const bug of bugs) {
    using copy = plant(bug);
    const { stdout, status } = spawnSync(process.execPath, [copy.script, '--until-found', '--runs', String(runs), '--from', String(from)], {
      encoding: 'utf8',
    });
    const found = /^seed (\d+): (.*)$/m.exec(stdout);
    if (found === null || status !== 1) missed += 1;
    const where = found === null ? `NOT FOUND in ${String(runs)} seeds` : `seed ${found[1] ?? ''}: ${found[2] ?? ''}`;
    console.log(`${bug.name}: ${bug.what}\n  ${where}`);
  }
  return missed === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const args = readArguments(process.argv.slice(2));
  if (args.wantsHelp) {
    console.log(help);
    return 0;
  }
  if (args.planted !== undefined) {
    const chosen = planted.filter(({ name }) => args.planted === 'all' || name === args.planted);
    if (chosen.length === 0)
      throw new RangeError(`Cannot plant ${args.planted}: expected all or one of ${planted.map(({ name }) => name).join(', ')}`);
    return simulatePlanted(chosen, args);
  }
  return args.seed === undefined ? simulate(args) : replay(args.seed, args);
}

process.exitCode = await main();
