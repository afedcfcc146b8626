/** Starts scripts in processes of their own. A script prints one line of JSON for each of its steps. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { eventually } from '../fixtures/etcd-stage.ts';
import { forgetPid, rememberPid } from './leftovers.ts';

/** A step of a script, with its details. */
export interface Step {
  readonly step: string;
  readonly [detail: string]: unknown;
}

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Empty unless the process failed, for example by an unhandled rejection. */
  readonly stderr: string;
}

/** A process of a script, or of a program whose printed lines count as steps. */
export class TestProcess implements AsyncDisposable {
  readonly steps: Step[] = [];
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcess;
  #isRunning = true;

  /** With `detached`, the process has no terminal. */
  constructor(
    file: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = process.env,
    { stdin = 'ignore', detached = false }: { readonly stdin?: 'ignore' | 'pipe'; readonly detached?: boolean } = {},
  ) {
    const child = spawn(file, args, { stdio: [stdin, 'pipe', 'pipe'], env, detached });
    const { pid } = child;
    if (pid !== undefined) rememberPid(pid);
    this.#child = child;
    let stderr = '';
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    createInterface(child.stdout as Readable).on('line', (line) => {
      this.steps.push(toStep(line));
    });
    this.ended = once(child, 'close').then((ending) => {
      this.#isRunning = false;
      if (pid !== undefined) forgetPid(pid);
      const [code, signal] = ending as [number | null, NodeJS.Signals | null];
      return { code, signal, stderr };
    });
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Waits for `step`. Rejects at once if the process has ended without it. */
  async reached(step: string | RegExp): Promise<Step> {
    const find = (): Step | undefined => this.steps.find((one) => (step instanceof RegExp ? step.test(one.step) : one.step === step));
    const ended = this.ended.then(({ code, signal, stderr }) => {
      if (find() === undefined) throw new Error(`The process ended by ${String(signal ?? code)} before '${String(step)}': ${stderr}`);
    });
    await Promise.race([
      ended,
      eventually(() => {
        if (find() === undefined) throw new Error(`The process has not reached '${String(step)}', only ${JSON.stringify(this.steps)}`);
      }, 20_000),
    ]);
    return find() ?? { step: String(step) };
  }

  /** Closes the reading end of stderr. */
  closeStderr(): void {
    this.#child.stderr?.destroy();
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Writes to stdin, if the process was started with a pipe for it. */
  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Kills the process, even if it is stopped. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isRunning) this.#child.kill('SIGKILL');
    await this.ended;
  }
}

/** Parses a line. A killed process may leave half a line of JSON, which then counts as a step. */
function toStep(line: string): Step {
  return line.startsWith('{') && line.endsWith('}') ? (JSON.parse(line) as Step) : { step: line };
}

const workers = new URL('../../integration/workers/', import.meta.url);

/** Runs a script of tests/integration/workers with the current Node. The script gets its settings as JSON. */
export function startWorker(script: string, settings: Readonly<Record<string, unknown>>): TestProcess {
  return new TestProcess(process.execPath, [fileURLToPath(new URL(script, workers)), JSON.stringify(settings)]);
}
