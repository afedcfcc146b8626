/**
 * The history of a scenario: the steps of clients and the faults, as lines of JSON. Each line has the time of the monotonic clock,
 * which is the same for all processes of a machine.
 */

/** A lock of a name. `slots` is 1 for an exclusive lock, null for a shared lock, n for a semaphore. */
export interface Hold {
  readonly name: string;
  readonly token: string;
  readonly slots: number | null;
}

export type EventBody =
  /** The client wants a lock of each name, until `held` or `abandoned`. Rejected calls in between do not end that. */
  | { readonly step: 'requested'; readonly names: readonly string[] }
  /** A call rejected, and is repeated. */
  | { readonly step: 'rejected'; readonly code: string }
  | { readonly step: 'abandoned' }
  /** `held` was read as true BEFORE `at`. The client is certain of its lock from `at` on ... */
  | { readonly step: 'held'; readonly holds: readonly Hold[] }
  /** ... until this `at`, because `held` was read as true AFTER it. */
  | { readonly step: 'certain' }
  /** `held` was read as false. The signal must have aborted by then. */
  | { readonly step: 'lost'; readonly reason: string; readonly aborted: boolean }
  | { readonly step: 'releasing' }
  | { readonly step: 'released' }
  | { readonly step: 'release-failed'; readonly code: string }
  /** The client is about to write `before` + 1. If it is killed now, `added` does not follow. */
  | { readonly step: 'adding'; readonly name: string; readonly before: number }
  /** The client wrote `before` + 1 to the counter of the name, in a transaction with its guard. */
  | {
      readonly step: 'added';
      readonly name: string;
      readonly token: string;
      readonly before: number;
      readonly outcome: 'written' | 'refused' | 'unknown';
    }
  /** A state of watch() of an exclusive name. */
  | { readonly step: 'state'; readonly name: string; readonly revision: string; readonly holders: readonly string[] }
  // The test did this:
  | { readonly step: 'fault'; readonly what: string }
  | { readonly step: 'frozen' }
  | { readonly step: 'woken' }
  | { readonly step: 'killed' }
  /** The value of a counter at the end. */
  | { readonly step: 'total'; readonly name: string; readonly value: number };

/** `client` is 'process.caller', or 'process' for an event of a whole process. */
export type Event = EventBody & { readonly at: number; readonly client: string };

/** Returns milliseconds of CLOCK_MONOTONIC. performance.now() would count from the start of each process. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6;

const steps = {
  requested: true,
  rejected: true,
  abandoned: true,
  held: true,
  certain: true,
  lost: true,
  releasing: true,
  released: true,
  'release-failed': true,
  adding: true,
  added: true,
  state: true,
  fault: true,
  frozen: true,
  woken: true,
  killed: true,
  total: true,
} satisfies Record<EventBody['step'], true>;

/** Whether a line is an event. Processes print other lines too. */
export const isEvent = (line: { readonly step: string }): line is Event => line.step in steps;

export const processOf = (client: string): string => client.split('.', 1)[0] ?? client;

export const inOrder = (history: readonly Event[]): Event[] => [...history].sort((a, b) => a.at - b.at);
