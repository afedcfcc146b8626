/** One run, from its seed to its verdict. Real time and real randomness do not enter it, and an unhandled rejection is a violation. */
import type { Figures } from './figures.ts';
import { fraction } from './prng.ts';
import type { Violation } from './judge.ts';
import type { Scenario } from './scenario.ts';
import { World } from './world.ts';

export interface Result {
  readonly scenario: Scenario;
  readonly violation: Violation | undefined;
  readonly figures: Figures;
  readonly history: readonly string[];
}

/** Runs a scenario, and records its history if `withHistory` is set. A process can do one run at a time. */
export async function run(scenario: Scenario, withHistory = false): Promise<Result> {
  const world = new World(scenario, withHistory);
  const restore = isolate(world, withHistory);
  try {
    await world.run();
  } catch (error) {
    world.judge.violated('crash', error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    restore();
  }
  const { figures, violation } = world.judge;
  figures.steps = world.scheduler.steps;
  figures.virtualMs = world.scheduler.nowMs;
  for (const [kind, count] of world.faults.counts) figures.faults.set(kind, count);
  return { scenario, violation, figures, history: world.history.lines };
}

function isolate({ judge, scheduler, scenario }: World, withHistory: boolean): () => void {
  const { random } = Math;
  const { stackTraceLimit } = Error;
  // A run makes thousands of errors, and their stacks would take a tenth of its time.
  if (!withHistory) Error.stackTraceLimit = 0;
  // The number depends on the step alone, so that other code in this process that draws numbers does not change the run.
  Math.random = () => fraction(scenario.seed, scheduler.steps);
  const others = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', (reason) => {
    judge.violated('unhandled', reason instanceof Error ? (reason.stack ?? reason.message) : String(reason));
  });
  return () => {
    Math.random = random;
    Error.stackTraceLimit = stackTraceLimit;
    process.removeAllListeners('unhandledRejection');
    for (const listener of others) process.on('unhandledRejection', listener);
  };
}
