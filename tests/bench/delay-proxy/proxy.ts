/**
 * A process that delays TCP connections: `node proxy.ts DELAY_MS TARGET…`. It prints the endpoint of each target as JSON.
 *
 * The bench runs it as a process of its own, so that the delay costs no time in the processes that it measures. Data keep their order.
 * There is no limit of throughput: all data that are due are passed on at once.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Alarm, nowNs } from './alarm.ts';

interface Delayed {
  readonly dueNs: bigint;
  readonly deliver: () => void;
}

/** Delays all data by the same time. So the data that arrived first are due first, and one queue serves all connections. */
class DelayLine {
  readonly #delayNs: bigint;
  #queue: Delayed[] = [];
  #head = 0;
  readonly #alarm = new Alarm(() => {
    this.#deliver();
  });

  constructor(delayMs: number) {
    this.#delayNs = BigInt(Math.round(delayMs * 1e6));
  }

  add(deliver: () => void): void {
    const dueNs = nowNs() + this.#delayNs;
    this.#queue.push({ dueNs, deliver });
    if (this.#queue.length - this.#head === 1) this.#alarm.set(dueNs);
  }

  #deliver(): void {
    for (;;) {
      const next = this.#queue[this.#head];
      if (next === undefined) {
        [this.#queue, this.#head] = [[], 0];
        return;
      }
      if (next.dueNs > nowNs()) {
        this.#alarm.set(next.dueNs);
        return;
      }
      this.#head += 1;
      next.deliver();
    }
  }
}

function pass(line: DelayLine, from: Socket, to: Socket): void {
  from.setNoDelay(true);
  from.on('error', () => undefined); // 'close' follows
  from.on('data', (chunk) => {
    line.add(() => to.write(chunk));
  });
  from.on('end', () => {
    line.add(() => to.end());
  });
  from.on('close', () => {
    line.add(() => {
      to.destroySoon();
    });
  });
}

async function listen(line: DelayLine, target: string): Promise<string> {
  const [host = '', port] = target.split(':');
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ host, port: Number(port), allowHalfOpen: true });
    pass(line, client, upstream);
    pass(line, upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const [delayMs, ...targets] = process.argv.slice(2);
const line = new DelayLine(Number(delayMs));
console.log(JSON.stringify(await Promise.all(targets.map((target) => listen(line, target)))));
// Also ends when the bench has died.
process.stdin.resume().once('close', () => process.exit());
