/** Starts a host that accepts connections and data, and never responds. */
import { createServer, type Socket } from 'node:net';
import { freePorts } from './ports.ts';

export interface HungHost extends AsyncDisposable {
  readonly endpoint: string;
  close(): Promise<void>;
}

export async function hungHost(): Promise<HungHost> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined); // a client may reset its connection on a timeout
    socket.on('close', () => sockets.delete(socket));
    socket.resume();
  });
  const [port = 0] = await freePorts(1);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const close = (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => {
      server.close(() => {
        resolve();
      });
    });
  };
  return { endpoint: `127.0.0.1:${String(port)}`, close, [Symbol.asyncDispose]: close };
}
