/** What the bench and its worker processes say to each other: a line of JSON each, every order answered once, under its id. */

/** What is opened for one turn of a rival, and closed after it. */
export interface Opening {
  readonly hosts: readonly string[];
  readonly clients: number;
  /** For each client; only Go needs more than one. */
  readonly sessions: number;
  readonly ttlSeconds: number;
  /** How often each client locks and releases a name of its own first. */
  readonly warmUps: number;
}

export type What = 'lock' | 'try' | 'inspect';

/** Callers, one for each name, that do the same again and again. */
export interface Loop {
  readonly names: readonly string[];
  readonly what: What;
  /** By the wall clock: all processes begin together. */
  readonly startAt: number;
  readonly ms: number;
  /** In each process. */
  readonly atMost: number;
  readonly holdMs: number;
  readonly withTurns: boolean;
  /** The first caller of each process takes the name for itself, all others share it. */
  readonly isShared?: boolean;
}

export type Order =
  | ({ readonly do: 'open' } & Opening)
  | ({ readonly do: 'loop' } & Loop)
  | { readonly do: 'hold'; readonly client: number; readonly name: string }
  | { readonly do: 'letGo' }
  | { readonly do: 'watch'; readonly name: string }
  | { readonly do: 'put'; readonly name: string; readonly times: number; readonly pauseMs: number }
  | { readonly do: 'memory'; readonly name: string; readonly count: number; readonly atOnce: number }
  /** Ends a loop whose callers may wait for long; a watch too, which then tells what it saw. */
  | { readonly do: 'stop' }
  | { readonly do: 'close' };

/** In milliseconds of a clock that all processes of one runtime share. */
export interface Turn {
  readonly at: number;
  /** Just before release() was called. */
  readonly until: number;
}

export interface LoopAnswer {
  readonly operations: number;
  readonly ms: number;
  readonly cpuMs: number;
  readonly turns: readonly Turn[];
}

export interface Memory {
  readonly heap: number;
  readonly rss: number;
}

export interface Answers {
  readonly open: object;
  readonly loop: LoopAnswer;
  readonly hold: object;
  readonly letGo: { readonly at: number };
  readonly watch: object;
  readonly put: { readonly ms: readonly number[] };
  readonly memory: { readonly before: Memory; readonly after: Memory };
  readonly stop: { readonly freeAt?: readonly number[] };
  readonly close: object;
}
