/** A host that is there, takes connections and what is sent on them, and never answers. */
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
    socket.on('error', () => undefined); // a client that gives up may reset its connection
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
