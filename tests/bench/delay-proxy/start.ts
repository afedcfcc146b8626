/** Starts the delay proxy, and measures the delay that it adds. */
import { spawn } from 'node:child_process';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { forgetPid, rememberPid } from '../../support/run/leftovers.ts';

const program = fileURLToPath(new URL('proxy.ts', import.meta.url));

export interface DelayProxy extends AsyncDisposable {
  /** The endpoints of the targets, through the proxy. */
  readonly endpoints: readonly string[];
  /** Sends pings through the proxy and past it. Returns the added delay of each pair in milliseconds, each way. */
  measure(times: number): Promise<readonly number[]>;
}

export async function startDelayProxy(targets: readonly string[], delayMs: number): Promise<DelayProxy> {
  const echo = await startEcho();
  const echoEndpoint = `127.0.0.1:${(echo.address() as AddressInfo).port}`;
  const child = spawn(process.execPath, [program, String(delayMs), ...targets, echoEndpoint], { stdio: ['pipe', 'pipe', 'inherit'] });
  if (child.pid !== undefined) rememberPid(child.pid);
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => {
      resolve();
    });
  });
  const endpoints = await Promise.race([
    new Promise<string[]>((resolve) =>
      createInterface(child.stdout).once('line', (line) => {
        resolve(JSON.parse(line) as string[]);
      }),
    ),
    ended.then(() => Promise.reject(new Error('The delay proxy has ended'))),
  ]);
  const through = await PingSocket.open(endpoints.at(-1) ?? '');
  const past = await PingSocket.open(echoEndpoint);
  return {
    endpoints: endpoints.slice(0, -1),
    async measure(times) {
      const added: number[] = [];
      for (let time = 0; time < times; time += 1) {
        const pastMs = await past.ping();
        added.push(((await through.ping()) - pastMs) / 2);
      }
      return added;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of [through, past]) socket.close();
      echo.close();
      child.kill('SIGKILL');
      await ended;
      if (child.pid !== undefined) forgetPid(child.pid);
    },
  };
}

function startEcho(): Promise<Server> {
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => {
      resolve(server);
    }),
  );
}

class PingSocket {
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket.setNoDelay(true);
  }

  static open(endpoint: string): Promise<PingSocket> {
    const [host = '', port] = endpoint.split(':');
    const socket = connect({ host, port: Number(port) });
    return new Promise((resolve, reject) => {
      socket.once('connect', () => {
        resolve(new PingSocket(socket));
      });
      socket.on('error', reject);
    });
  }

  ping(): Promise<number> {
    const sentAt = performance.now();
    return new Promise((resolve) => {
      this.#socket.once('data', () => {
        resolve(performance.now() - sentAt);
      });
      this.#socket.write('.');
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}
