/**
 * Free loopback ports for servers. They lie below the range that systems give to outgoing
 * connections: there a member that is down could find its port taken when it comes back, and a
 * client that dials the dead port could even be connected to itself.
 */
import { createServer, type Server } from 'node:net';

const lowest = 15_000;
const highest = 32_000;

/** `count` different ports, free at this moment; whoever listens on them next must expect to lose a race. */
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
