/**
 * Finds free loopback ports for servers, below the range of ephemeral ports.
 *
 * In that range, an outgoing connection could take the port of a member that is down. A client that connects to the port could even
 * connect to itself.
 */
import { createServer, type Server } from 'node:net';

const lowest = 15_000;
const highest = 32_000;

/** Returns `count` different free ports. Another process can take one before the caller listens on it. */
export async function freePorts(count: number): Promise<number[]> {
  const held: { port: number; server: Server }[] = [];
  try {
    while (held.length < count) {
      const port = lowest + Math.floor(Math.random() * (highest - lowest));
      const server = await listen(port);
      if (server !== null) held.push({ port, server });
    }
    return held.map(({ port }) => port);
  } finally {
    await Promise.all(held.map(({ server }) => close(server)));
  }
}

function listen(port: number): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(null);
    });
    server.listen(port, '127.0.0.1', () => {
      resolve(server);
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
  });
}
