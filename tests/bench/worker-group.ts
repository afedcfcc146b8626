/** The worker processes of one rival. They live for all rounds of a workload, and close their clients after each round. */
import { inParallel } from './parallel.ts';
import type { Loop, LoopAnswer, Opening } from './protocol.ts';
import { workerScript } from './paths.ts';
import type { NodeRival } from './worker.ts';
import { WorkerProcess } from './worker-process.ts';

/** A kind of Node worker with its folder, or Go's program. */
export type Runner = { readonly node: NodeRival; readonly folder?: string } | { readonly program: string };

export class WorkerGroup implements AsyncDisposable {
  readonly workers: readonly WorkerProcess[];

  /** The processes start at the first order. */
  constructor(runner: Runner, processes: number, nodeFlags: readonly string[] = []) {
    const command: [string, ...string[]] =
      'node' in runner
        ? [process.execPath, ...nodeFlags, workerScript, runner.node, ...(runner.folder === undefined ? [] : [runner.folder])]
        : [runner.program];
    this.workers = Array.from({ length: processes }, () => new WorkerProcess(command));
  }

  get first(): WorkerProcess {
    const [first] = this.workers;
    if (first === undefined) throw new Error('Cannot measure: the group has no process');
    return first;
  }

  /** Opens the clients of a few processes at a time. All at once would overload the machine, and requests would time out. */
  async open(opening: Opening): Promise<void> {
    await inParallel(this.workers.length, 4, async (index) => this.workers[index]?.ask({ do: 'open', ...opening }));
  }

  /** Runs a loop in all processes, which start at the same time. `names` has the names of the callers of each process. */
  async loop(names: readonly (readonly string[])[], loop: Omit<Loop, 'names' | 'startAt'>): Promise<LoopAnswer[]> {
    const startAt = Date.now() + 50 + 5 * this.workers.length;
    return Promise.all(this.workers.map((worker, index) => worker.ask({ do: 'loop', ...loop, names: names[index] ?? [], startAt })));
  }

  async stop(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.ask({ do: 'stop' })));
  }

  async close(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.ask({ do: 'close' })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.end()));
  }
}
