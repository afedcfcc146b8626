/** The work of a client process. The test passes it on the command line. */

/** The options that decide the kind of a lock. */
export interface Kind {
  readonly mode?: 'exclusive' | 'shared';
  readonly slots?: number;
}

export type Work =
  /** Acquires and releases locks of random choices, one after the other, until the end. */
  | {
      readonly work: 'loop';
      readonly choices: readonly Choice[];
      /** The longest time of a hold. Each hold takes a random part of it. @default 10 */
      readonly holdMs?: number;
      /** The longest pause between two holds. @default 10 */
      readonly pauseMs?: number;
    }
  /** Acquires at one `go`, and releases at the next. */
  | { readonly work: 'steps'; readonly name: string }
  /** Holds from the start to the end, and acquires again after a loss. */
  | { readonly work: 'keep'; readonly name: string }
  /** Holds in a busy loop until the process was stopped and has woken, then writes with its guard. */
  | { readonly work: 'spin'; readonly name: string }
  /** At each `go`, acquires `locks` new names at once and releases them. */
  | { readonly work: 'bursts'; readonly name: string; readonly locks: number }
  | { readonly work: 'watch'; readonly name: string };

export interface Choice extends Kind {
  /** Several names are acquired by lockAll. */
  readonly names: readonly string[];
  /** Calls tryLock or tryLockAll. */
  readonly isTry?: boolean;
  readonly timeoutMs?: number;
  /** Whether the holder increments a counter by a guarded write. Only for one exclusive name. */
  readonly counts?: boolean;
}

export interface ClientPlan {
  /** The name of the client in the history. */
  readonly client: string;
  /** The hosts of the locker. It starts with the first. */
  readonly hosts: readonly string[];
  /** The members, without a proxy, for the counters. */
  readonly members: readonly string[];
  readonly prefix: string;
  readonly counters: string;
  readonly ttlMs: number;
  readonly requestTimeoutMs: number;
  readonly auth?: { readonly username: string; readonly password: string } | undefined;
  readonly seed: number;
  /** The callers. Each has its own locker, and so its own session. */
  readonly callers: readonly Work[];
}
