/** The messages between the bench and its worker processes: lines of JSON. Each order gets one answer with the same id. */

/** The clients that a worker opens before a round and closes after it. */
export interface Opening {
  readonly hosts: readonly string[];
  readonly clients: number;
  /** The sessions of each client. Only Go needs more than one. */
  readonly sessions: number;
  readonly ttlSeconds: number;
  /** The number of locks that each client takes before the round. */
  readonly warmUps: number;
}

export type Operation = 'lock' | 'try';

/** A loop of callers, one for each name, that repeat one operation. */
export interface Loop {
  readonly names: readonly string[];
  readonly operation: Operation;
  /** The start by the wall clock, which is the same for all processes. */
  readonly startAt: number;
  readonly ms: number;
  /** The most operations of each process. */
  readonly atMost: number;
  readonly holdMs: number;
  readonly recordsHolds: boolean;
  /** Whether the first caller of each process locks exclusively and all others share the name. */
  readonly isShared?: boolean;
  /** Each caller takes this number of names in rotation: its name and a number. */
  readonly rotation?: number;
}

/** Raw requests, one after the other. */
export interface Puts {
  readonly name: string;
  readonly times: number;
  readonly pauseMs: number;
  /** Reads instead. */
  readonly isRead?: boolean;
}

export type Order =
  | ({ readonly do: 'open' } & Opening)
  | ({ readonly do: 'loop' } & Loop)
  | { readonly do: 'hold'; readonly client: number; readonly name: string }
  | { readonly do: 'release' }
  | { readonly do: 'watch'; readonly name: string }
  | ({ readonly do: 'put' } & Puts)
  | { readonly do: 'memory'; readonly name: string; readonly count: number; readonly atOnce: number }
  /** Ends a loop whose callers may wait for a long time. Also ends a watch, and returns the times that it saw. */
  | { readonly do: 'stop' }
  | { readonly do: 'close' };

/** The times of one hold, in milliseconds of a clock that all processes of one runtime share. */
export interface Hold {
  readonly at: number;
  /** The time just before release() was called. */
  readonly until: number;
}

export interface LoopAnswer {
  readonly operations: number;
  readonly ms: number;
  readonly cpuMs: number;
  readonly holds: readonly Hold[];
}

export interface Memory {
  readonly heap: number;
  readonly rss: number;
}

export interface Answers {
  readonly open: object;
  readonly loop: LoopAnswer;
  /** The time from lock() until it was held. */
  readonly hold: { readonly ms: number };
  readonly release: { readonly at: number };
  readonly watch: object;
  readonly put: { readonly ms: readonly number[] };
  readonly memory: { readonly before: Memory; readonly after: Memory };
  readonly stop: { readonly freeAt?: readonly number[] };
  readonly close: object;
}
