/**
 * A loopback TCP proxy in front of one server, which simulates network failures.
 *
 * The proxy keeps withheld data in order and delivers it on resume(), like TCP after an interruption. It also withholds the ends of
 * connections, because a broken network does not deliver them.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePorts } from './ports.ts';

export interface TcpProxy extends AsyncDisposable {
  readonly endpoint: string;
  /** The number of clients that are connected now. */
  readonly connections: number;
  /** The number of clients that have not closed their end. */
  readonly openClients: number;
  /** The number of connections so far. */
  readonly accepted: number;
  /**
   * Withholds all data in both directions. Connections stay open, and new ones are accepted.
   *
   * @param which selects connections by the first data from the client. Default: all
   */
  hang(which?: (opening: string) => boolean): void;
  /** Withholds the data from the server. Requests arrive and take effect. */
  hangResponses(): void;
  /** Withholds the data from the client. Data from the server still arrives. */
  hangRequests(): void;
  /** Withholds all data of the present connections for good, like a firewall that has lost their state. New connections work. */
  strand(): void;
  /**
   * Accepts the next `count` connections, but never passes anything on them: neither data nor an end. resume() makes new ones work.
   *
   * @param count Default: all
   */
  strandNext(count?: number): void;
  /** Ends hang(), hangResponses() and hangRequests(), and delivers the withheld data. */
  resume(): void;
  /** Resets every connection and refuses new ones. */
  cut(): Promise<void>;
  /** Ends cut(), on the same port. */
  restore(): Promise<void>;
  /** Delays all data by `ms` in each direction. 0 ends the delay. */
  delay(ms: number): void;
  close(): Promise<void>;
}

interface Conditions {
  requestsPass: boolean;
  responsesPass: boolean;
  /** Returns whether a connection with this first data is affected. */
  affects: (opening: string) => boolean;
  delayMs: number;
  /** How many of the next connections pass nothing for good. */
  strandsNext: number;
}

const all = (): boolean => true;

export async function startTcpProxy(target: string): Promise<TcpProxy> {
  const conditions: Conditions = { requestsPass: true, responsesPass: true, affects: all, delayMs: 0, strandsNext: 0 };
  const links = new Set<Link>();
  let accepted = 0;
  const open = (port: number): Promise<Server> =>
    listen(port, (client) => {
      accepted += 1;
      const link = new Link(client, target, conditions, links);
      links.add(link);
      if (conditions.strandsNext > 0) {
        conditions.strandsNext -= 1;
        link.isStranded = true;
      }
    });
  const [port = 0] = await freePorts(1);
  let server: Server | null = await open(port);

  const set = (change: Partial<Conditions>): void => {
    Object.assign(conditions, change);
    for (const link of links) link.flush();
  };
  const cut = async (): Promise<void> => {
    const closing = server;
    server = null;
    const closed = closing === null ? undefined : new Promise((resolve) => closing.close(resolve));
    for (const link of links) link.reset();
    await closed;
  };
  return {
    endpoint: `127.0.0.1:${String(port)}`,
    get connections() {
      return links.size;
    },
    get openClients() {
      return [...links].filter(({ isOpen }) => isOpen).length;
    },
    get accepted() {
      return accepted;
    },
    hang: (which = all) => {
      set({ requestsPass: false, responsesPass: false, affects: which });
    },
    hangResponses: () => {
      set({ requestsPass: true, responsesPass: false, affects: all });
    },
    hangRequests: () => {
      set({ requestsPass: false, responsesPass: true, affects: all });
    },
    strand: () => {
      for (const link of links) link.isStranded = true;
    },
    strandNext: (count = Infinity) => {
      set({ strandsNext: count });
    },
    resume: () => {
      set({ requestsPass: true, responsesPass: true, affects: all, strandsNext: 0 });
    },
    delay: (ms) => {
      set({ delayMs: ms });
    },
    cut,
    restore: async () => {
      server ??= await open(port);
    },
    close: cut,
    [Symbol.asyncDispose]: cut,
  };
}

/** One connection of a client, and the connection to the server for it. */
class Link {
  isStranded = false;
  /** Whether the client has not closed its end. */
  isOpen = true;
  readonly #links: Set<Link>;
  readonly #sockets: readonly Socket[];
  readonly #directions: readonly Direction[];

  constructor(client: Socket, target: string, conditions: Conditions, links: Set<Link>) {
    const at = target.lastIndexOf(':');
    const passes = (isOpen: boolean): boolean => !this.isStranded && (isOpen || !conditions.affects(opening));
    const server = connect({ host: target.slice(0, at), port: Number(target.slice(at + 1)), allowHalfOpen: true });
    for (const socket of [client, server]) socket.setNoDelay(true); // the proxy must add no delay of its own
    let opening = '';
    client.once('data', (chunk) => (opening = chunk.toString('latin1'))); // before the listener of the direction
    for (const event of ['end', 'close']) client.once(event, () => (this.isOpen = false));
    this.#links = links;
    this.#sockets = [client, server];
    this.#directions = [
      new Direction(client, server, conditions, () => passes(conditions.requestsPass)),
      new Direction(server, client, conditions, () => passes(conditions.responsesPass)),
    ];
    for (const socket of this.#sockets) {
      socket.on('close', () => {
        if (this.#sockets.every(({ destroyed }) => destroyed)) links.delete(this);
      });
    }
  }

  flush(): void {
    for (const direction of this.#directions) direction.flush();
  }

  reset(): void {
    this.#links.delete(this);
    for (const direction of this.#directions) direction.discard();
    for (const socket of this.#sockets) reset(socket);
  }
}

/** One direction of a link: queues data until it is due and may pass. */
class Direction {
  readonly #to: Socket;
  readonly #conditions: Conditions;
  readonly #passes: () => boolean;
  #queue: { readonly dueAt: number; deliver: () => void }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, conditions: Conditions, passes: () => boolean) {
    this.#to = to;
    this.#conditions = conditions;
    this.#passes = passes;
    from.on('error', () => undefined); // 'close' follows
    from.on('data', (chunk) => {
      this.#add(() => to.write(chunk));
    });
    from.on('end', () => {
      this.#add(() => to.end());
    });
    from.on('close', (hadError) => {
      this.#add(() => {
        if (hadError) reset(to);
        else to.destroySoon();
      });
    });
  }

  flush(): void {
    clearTimeout(this.#timer);
    while (this.#passes()) {
      const next = this.#queue[0];
      if (next === undefined) return;
      const waitMs = next.dueAt - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => {
          this.flush();
        }, Math.ceil(waitMs));
        return;
      }
      this.#queue.shift();
      if (!this.#to.destroyed) next.deliver();
    }
  }

  discard(): void {
    clearTimeout(this.#timer);
    this.#queue = [];
  }

  #add(deliver: () => void): void {
    this.#queue.push({ dueAt: performance.now() + this.#conditions.delayMs, deliver });
    this.flush();
  }
}

function listen(port: number, onConnection: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, onConnection);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      resolve(server);
    });
  });
}

// Node does not close a socket, and emits no event, if it is reset while its own end is in flight.
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
