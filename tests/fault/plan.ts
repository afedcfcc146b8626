/** What a client process is told to do. */

/** How the locks of a name are asked for. */
export interface Kind {
  readonly mode?: 'exclusive' | 'shared';
  readonly slots?: number;
}

export type Work =
  /** One lock after the other, each of a random choice, until the end. */
  | {
      readonly work: 'turns';
      readonly choices: readonly Choice[];
      /** Each is held for a random time up to it. @default 10 */
      readonly holdMs?: number;
      /** Between two turns, likewise. @default 10 */
      readonly pauseMs?: number;
    }
  /** A turn that begins at `go` and ends at the next. */
  | { readonly work: 'steps'; readonly name: string }
  /** Holds from the beginning to the end; asks again where it is lost. */
  | { readonly work: 'keep'; readonly name: string }
  /** Holds without a turn of the event loop until it notices that it was stopped; then it writes by its guard. */
  | { readonly work: 'spin'; readonly name: string }
  /** At each `go` so many locks of fresh names at once, released at once. */
  | { readonly work: 'bursts'; readonly name: string; readonly locks: number }
  | { readonly work: 'watch'; readonly name: string };

export interface Choice extends Kind {
  /** More than one are taken by lockAll. */
  readonly names: readonly string[];
  /** tryLock, or tryLockAll. */
  readonly isTry?: boolean;
  readonly timeoutMs?: number;
  /** Whether a counter is raised by guarded writes; only for one exclusive name. */
  readonly counts?: boolean;
}

export interface ClientPlan {
  /** How it calls itself in the history. */
  readonly client: string;
  /** The locker asks the first of them first. */
  readonly hosts: readonly string[];
  /** The members themselves, for the counters. */
  readonly members: readonly string[];
  readonly prefix: string;
  readonly counters: string;
  readonly ttlMs: number;
  readonly requestTimeoutMs: number;
  readonly auth?: { readonly username: string; readonly password: string } | undefined;
  readonly seed: number;
  /** Each has a locker, and so a session, of its own. */
  readonly callers: readonly Work[];
}
