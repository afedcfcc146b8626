/**
 * A loopback TCP proxy in front of one server, to have the network fail between them. What is held
 * back is kept in order and delivered on resume(), as TCP does it after an interruption; ends of
 * connections are held back likewise, since a broken network does not carry them either.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePorts } from './ports.ts';

export interface TcpProxy extends AsyncDisposable {
  readonly endpoint: string;
  /** How many clients are connected at this moment. */
  readonly connections: number;
  /**
   * Nothing passes in either direction; connections stay, and new ones are accepted. With `which` only on those connections
   * whose first piece of data from the client it picks out.
   */
  hang(which?: (opening: string) => boolean): void;
  /** What the client sends still arrives and takes effect; it just never hears of it. */
  hangAnswers(): void;
  /** The other direction: the server hears nothing more, its own words still arrive. */
  hangRequests(): void;
  /** Nothing passes any more on the connections of now, for good, and nobody is told: as when a firewall has forgotten them. New ones pass. */
  strand(): void;
  /** Ends hang(), hangAnswers() and hangRequests(): what was held back is delivered. */
  resume(): void;
  /** Resets every connection and refuses new ones. */
  cut(): Promise<void>;
  /** Ends cut(), on the same port. */
  restore(): Promise<void>;
  /** Each piece arrives `ms` later, in each direction; 0 ends it. */
  delay(ms: number): void;
  close(): Promise<void>;
}

interface Weather {
  requestsPass: boolean;
  answersPass: boolean;
  /** Which connections this is about. */
  meets: (opening: string) => boolean;
  delayMs: number;
}

const all = (): boolean => true;

export async function startTcpProxy(target: string): Promise<TcpProxy> {
  const weather: Weather = { requestsPass: true, answersPass: true, meets: all, delayMs: 0 };
  const links = new Set<Link>();
  const open = (port: number): Promise<Server> => listen(port, (client) => links.add(new Link(client, target, weather, links)));
  const [port = 0] = await freePorts(1);
  let server: Server | null = await open(port);

  const set = (change: Partial<Weather>): void => {
    Object.assign(weather, change);
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
    hang: (which = all) => {
      set({ requestsPass: false, answersPass: false, meets: which });
    },
    hangAnswers: () => {
      set({ requestsPass: true, answersPass: false, meets: all });
    },
    hangRequests: () => {
      set({ requestsPass: false, answersPass: true, meets: all });
    },
    strand: () => {
      for (const link of links) link.isStranded = true;
    },
    resume: () => {
      set({ requestsPass: true, answersPass: true, meets: all });
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

/** One connection of a client, and ours to the server on its behalf. */
class Link {
  isStranded = false;
  readonly #links: Set<Link>;
  readonly #sockets: readonly Socket[];
  readonly #lanes: readonly Lane[];

  constructor(client: Socket, target: string, weather: Weather, links: Set<Link>) {
    const at = target.lastIndexOf(':');
    const passes = (isOpen: boolean): boolean => !this.isStranded && (isOpen || !weather.meets(opening));
    const server = connect({ host: target.slice(0, at), port: Number(target.slice(at + 1)), allowHalfOpen: true });
    for (const socket of [client, server]) socket.setNoDelay(true); // the proxy must add no delay of its own
    let opening = '';
    client.once('data', (chunk) => (opening = chunk.toString('latin1'))); // before the lane's own listener
    this.#links = links;
    this.#sockets = [client, server];
    this.#lanes = [
      new Lane(client, server, weather, () => passes(weather.requestsPass)),
      new Lane(server, client, weather, () => passes(weather.answersPass)),
    ];
    for (const socket of this.#sockets) {
      socket.on('close', () => {
        if (this.#sockets.every(({ destroyed }) => destroyed)) links.delete(this);
      });
    }
  }

  flush(): void {
    for (const lane of this.#lanes) lane.flush();
  }

  reset(): void {
    this.#links.delete(this);
    for (const lane of this.#lanes) lane.drop();
    for (const socket of this.#sockets) reset(socket);
  }
}

/** One direction of a link: what came, when it is due, and whether it may pass. */
class Lane {
  readonly #to: Socket;
  readonly #weather: Weather;
  readonly #passes: () => boolean;
  #held: { readonly dueAt: number; deliver: () => void }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, weather: Weather, passes: () => boolean) {
    this.#to = to;
    this.#weather = weather;
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
      const next = this.#held[0];
      if (next === undefined) return;
      const waitMs = next.dueAt - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => {
          this.flush();
        }, Math.ceil(waitMs));
        return;
      }
      this.#held.shift();
      if (!this.#to.destroyed) next.deliver();
    }
  }

  drop(): void {
    clearTimeout(this.#timer);
    this.#held = [];
  }

  #add(deliver: () => void): void {
    this.#held.push({ dueAt: performance.now() + this.#weather.delayMs, deliver });
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

// Node neither closes a socket nor says so that is reset while its own end is still on its way.
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
