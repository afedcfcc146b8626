/** Processes of our own on the locker: scripts that tell what they do, a line of JSON for each step. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { eventually } from '../fixtures/etcd-stage.ts';
import { forgetPid, rememberPid } from './leftovers.ts';

/** What a script tells: which step it is at, and what there is to say about it. */
export interface Step {
  readonly step: string;
  readonly [detail: string]: unknown;
}

export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Empty unless something went wrong, an unhandled rejection included. */
  readonly stderr: string;
}

/** A script of ours, or any other program whose lines count as its steps. */
export class TestProcess implements AsyncDisposable {
  readonly steps: Step[] = [];
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcess;
  #isRunning = true;

  /** With `detached` it has no terminal, whatever ours is. */
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

  /** Waits until it is at `step`; fails at once where it has ended without it. */
  async reached(step: string | RegExp): Promise<Step> {
    const find = (): Step | undefined => this.steps.find((one) => (step instanceof RegExp ? step.test(one.step) : one.step === step));
    const over = this.ended.then(({ code, signal, stderr }) => {
      if (find() === undefined) throw new Error(`The process ended by ${String(signal ?? code)} before '${String(step)}': ${stderr}`);
    });
    await Promise.race([
      over,
      eventually(() => {
        if (find() === undefined) throw new Error(`The process is not at '${String(step)}' but has told ${JSON.stringify(this.steps)}`);
      }, 20_000),
    ]);
    return find() ?? { step: String(step) };
  }

  /** As when the reader of a pipe has gone. */
  closeStderr(): void {
    this.#child.stderr?.destroy();
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Where it was started with a pipe for its stdin. */
  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Ends it, whatever it does and even if it is stopped. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isRunning) this.#child.kill('SIGKILL');
    await this.ended;
  }
}

/** A process that is killed may leave half a line behind. */
function toStep(line: string): Step {
  return line.startsWith('{') && line.endsWith('}') ? (JSON.parse(line) as Step) : { step: line };
}

const workers = new URL('../../integration/workers/', import.meta.url);

/** Runs a script from tests/integration/workers by the Node that runs this, with what it is to know as JSON. */
export function startWorker(script: string, settings: Readonly<Record<string, unknown>>): TestProcess {
  return new TestProcess(process.execPath, [fileURLToPath(new URL(script, workers)), JSON.stringify(settings)]);
}
