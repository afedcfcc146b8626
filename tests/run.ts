/** `npm test`, `npm run test:rest` and `npm run test:all`: prints the plan, builds the package, and runs the tests of the plan. */
import { spawnSync } from 'node:child_process';
import { plans, type Plan } from './plan.ts';

const [name = '', ...vitestArguments] = process.argv.slice(2);
const plan = Object.entries(plans).find(([key]) => key === name)?.[1];
if (plan === undefined) throw new Error(`Cannot run the plan ${JSON.stringify(name)}: the plans are ${Object.keys(plans).join(', ')}`);

console.log(describePlan(plan));
process.exitCode =
  run('npm', ['run', 'build', '--silent']) || run('vitest', ['run', ...plan.parts.flatMap(({ paths }) => paths), ...vitestArguments]);

function describePlan({ command, minutes, parts }: Plan): string {
  const lines = parts.map(({ title, seconds }) => `  ${String(seconds).padStart(4)} s  ${title}`);
  const header = `${command} builds the package, then runs two test files at a time: about ${String(minutes)} minutes on two cores.`;
  return ['', header, ...lines, ''].join('\n');
}

/** Runs a program and returns its exit status. */
function run(program: string, args: readonly string[]): number {
  const { status, error } = spawnSync(program, args, {
    stdio: 'inherit',
    env: { ...process.env, SEEDS: process.env['SEEDS'] ?? String(plan?.seeds) },
  });
  if (error !== undefined) throw error;
  return status ?? 1;
}
