/** A worker process, as the bench uses it: sends orders and receives answers. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface } from 'node:readline';
import { forgetPid, rememberPid } from '../support/run/leftovers.ts';
import type { Answers, Order } from './protocol.ts';

interface Pending {
  readonly resolve: (answer: never) => void;
  readonly reject: (error: Error) => void;
}

export class WorkerProcess {
  readonly #command: readonly [string, ...string[]];
  readonly #pending = new Map<number, Pending>();
  #child: ChildProcessWithoutNullStreams | undefined;
  #ended: Promise<void> | undefined;
  #hasEnded = false;
  #lastId = 0;

  /** The process starts at the first order. */
  constructor(command: readonly [string, ...string[]]) {
    this.#command = command;
  }

  async ask<Do extends Order['do']>(order: Extract<Order, { do: Do }>, timeoutMs = 120_000): Promise<Answers[Do]> {
    if (this.#hasEnded) throw new Error(`Cannot send '${order.do}': the worker process has ended`);
    const { stdin } = (this.#child ??= this.#start());
    this.#lastId += 1;
    const id = this.#lastId;
    let timer: NodeJS.Timeout | undefined;
    const answer = new Promise<Answers[Do]>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      timer = setTimeout(() => {
        reject(new Error(`Cannot complete '${order.do}': the worker process did not answer within ${timeoutMs} ms`));
      }, timeoutMs);
    });
    stdin.write(`${JSON.stringify({ id, ...order })}\n`);
    return answer.finally(() => {
      clearTimeout(timer);
    });
  }

  async end(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  #start(): ChildProcessWithoutNullStreams {
    const [file, ...args] = this.#command;
    const child = spawn(file, args);
    if (child.pid !== undefined) rememberPid(child.pid);
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin.on('error', () => undefined); // 'close' reports its end
    child.once('error', (error) => (stderr += error.message));
    createInterface(child.stdout).on('line', (line) => {
      this.#onLine(line);
    });
    this.#ended = new Promise((resolve) => {
      child.once('close', () => {
        this.#hasEnded = true;
        if (child.pid !== undefined) forgetPid(child.pid);
        for (const { reject } of this.#pending.values()) reject(new Error(`The worker process has ended: ${stderr.trim()}`));
        resolve();
      });
    });
    return child;
  }

  #onLine(line: string): void {
    const { id, error, ...answer } = JSON.parse(line) as { readonly id: number; readonly error?: string };
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (error === undefined) pending?.resolve(answer as never);
    else pending?.reject(new Error(`${this.#command.at(-1) ?? ''}: ${error}`));
  }
}
