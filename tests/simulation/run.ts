/** One run from its seed to its verdict, with nothing from outside in it: no real time, no randomness, no rejection that gets away. */
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

/** `isTold`: with a history. One run at a time in a process. */
export async function run(scenario: Scenario, isTold = false): Promise<Result> {
  const world = new World(scenario, isTold);
  const restore = isolate(world, isTold);
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

function isolate({ judge, scheduler, scenario }: World, isTold: boolean): () => void {
  const { random } = Math;
  const { stackTraceLimit } = Error;
  // Errors by the thousand are part of a run, and their stacks would take a tenth of its time.
  if (!isTold) Error.stackTraceLimit = 0;
  // By the step alone, so that whoever else in this process draws a number moves nothing.
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
