/** The work of a worker process: carries out orders with the client of its rival. */
import { setTimeout as sleep } from 'node:timers/promises';
import { inParallel } from './parallel.ts';
import type { Answers, Hold, Loop, Memory, Opening, Puts } from './protocol.ts';
import type { Client, Held, OpenClient } from './rivals/client.ts';

const notRecorded: Hold = { at: 0, until: 0 };

export class WorkerJobs {
  readonly #openClient: OpenClient;
  #clients: Client[] = [];
  #held: Held[] = [];
  #stopping = new AbortController();
  #endWatch: (() => Promise<unknown>) | undefined;
  #freeAt: number[] = [];

  constructor(openClient: OpenClient) {
    this.#openClient = openClient;
  }

  async open({ hosts, clients, ttlSeconds, warmUps }: Opening): Promise<object> {
    this.#stopping = new AbortController();
    await inParallel(clients, 50, async (index) => {
      const client = await this.#openClient(hosts, ttlSeconds);
      this.#clients[index] = client;
      for (let time = 0; time < warmUps; time += 1) await (await client.lock(`warm-${process.pid}-${index}`)).release();
    });
    return {};
  }

  async loop(order: Loop): Promise<Answers['loop']> {
    const { names, startAt, ms, atMost } = order;
    await sleep(startAt - Date.now());
    const [startedAt, cpu] = [performance.now(), process.cpuUsage()];
    let left = atMost;
    let operations = 0;
    const holds: Hold[] = [];
    await Promise.all(
      names.map(async (name, caller) => {
        const client = this.#client(caller % this.#clients.length);
        const isReader = order.isShared === true && caller > 0;
        const rotation = order.rotation === undefined ? [name] : Array.from({ length: order.rotation }, (_, index) => `${name}-${index}`);
        let turn = 0;
        while (performance.now() - startedAt < ms && left > 0 && !this.#stopping.signal.aborted) {
          left -= 1;
          const next = rotation[turn] ?? name;
          turn = (turn + 1) % rotation.length;
          const hold = await (isReader ? this.#read(client, next) : this.#runOnce(client, next, order));
          if (hold === null) return;
          operations += 1;
          if (order.recordsHolds) holds.push(hold);
        }
      }),
    );
    const { user, system } = process.cpuUsage(cpu);
    return { operations, ms: performance.now() - startedAt, cpuMs: (user + system) / 1_000, holds };
  }

  /** Runs the operation once. Returns null if the loop was stopped while it waited. */
  async #runOnce(client: Client, name: string, { operation, holdMs, recordsHolds }: Loop): Promise<Hold | null> {
    if (operation === 'try') {
      if ((await client.tryLock?.(name)) !== null) throw new Error(`Cannot measure tryLock: ${name} is free`);
      return notRecorded;
    }
    const { signal } = this.#stopping;
    try {
      // Only the waiters of a long queue need a signal, which costs time.
      const held = await (recordsHolds ? client.lock(name, signal) : client.lock(name));
      if (!recordsHolds && holdMs === 0) {
        await held.release();
        return notRecorded;
      }
      const at = now();
      if (holdMs > 0) await sleep(holdMs);
      const until = now();
      await held.release();
      return { at, until };
    } catch (error) {
      if (signal.aborted) return null;
      throw error;
    }
  }

  async #read(client: Client, name: string): Promise<Hold> {
    if (client.lockShared === undefined) throw new Error('Cannot measure readers: this rival has no shared locks');
    await (await client.lockShared(name)).release();
    return notRecorded;
  }

  async hold(client: number, name: string): Promise<Answers['hold']> {
    const calledAt = performance.now();
    this.#held.push(await this.#client(client).lock(name));
    return { ms: performance.now() - calledAt };
  }

  async release(): Promise<Answers['release']> {
    const at = now();
    const held = this.#held;
    this.#held = [];
    await inParallel(held.length, 256, async (index) => held[index]?.release());
    return { at };
  }

  async watch(name: string): Promise<object> {
    this.#freeAt = [];
    this.#endWatch = await this.#client(0).watch?.(name, () => this.#freeAt.push(now()));
    return {};
  }

  async put({ name, times, pauseMs, isRead = false }: Puts): Promise<Answers['put']> {
    const ms: number[] = [];
    for (let time = 0; time < times; time += 1) {
      if (pauseMs > 0) await sleep(pauseMs);
      const sentAt = performance.now();
      await (isRead ? this.#client(0).read?.(name) : this.#client(0).put?.(name));
      ms.push(performance.now() - sentAt);
    }
    return { ms };
  }

  async memory(name: string, count: number, atOnce: number): Promise<Answers['memory']> {
    const before = await memoryNow();
    const held = (this.#held = new Array<Held>(count));
    await inParallel(count, atOnce, async (index) => {
      held[index] = await this.#client(0).lock(`${name}-${index}`);
    });
    return { before, after: await memoryNow() };
  }

  async stop(): Promise<Answers['stop']> {
    this.#stopping.abort();
    await this.#endWatch?.();
    this.#endWatch = undefined;
    return { freeAt: this.#freeAt };
  }

  async close(): Promise<object> {
    const clients = this.#clients;
    this.#clients = [];
    await inParallel(clients.length, 50, async (index) => clients[index]?.close());
    return {};
  }

  #client(index: number): Client {
    const client = this.#clients[index];
    if (client === undefined) throw new Error(`Cannot measure: client ${index} is not open`);
    return client;
  }
}

/** Returns the time of a clock that all processes share. */
function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Returns the memory after a garbage collection. Needs --expose-gc. */
async function memoryNow(): Promise<Memory> {
  for (let time = 0; time < 3; time += 1) {
    await sleep(100);
    globalThis.gc?.();
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, rss };
}
