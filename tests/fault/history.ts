/**
 * What clients and faults did, as lines of JSON: every line with the time of the machine's monotonic clock, which all processes
 * of one machine read alike.
 */

/** One lock of a name; `slots` is 1 for an exclusive one, null for a shared one, n for a semaphore. */
export interface Hold {
  readonly name: string;
  readonly token: string;
  readonly slots: number | null;
}

export type Deed =
  /** It calls for a lock of each of the names; until `held` or `gave-up` it wants them, whatever calls fail meanwhile. */
  | { readonly step: 'asked'; readonly names: readonly string[] }
  /** A call failed, and goes again. */
  | { readonly step: 'refused'; readonly code: string }
  | { readonly step: 'gave-up' }
  /** `held` was read as true BEFORE `at`: from then on it is certain of it ... */
  | { readonly step: 'held'; readonly holds: readonly Hold[] }
  /** ... and was so still at `at`, as `held` was read as true AFTER it. */
  | { readonly step: 'certain' }
  /** `held` was read as false; the signal must have aborted by then. */
  | { readonly step: 'lost'; readonly reason: string; readonly aborted: boolean }
  | { readonly step: 'releasing' }
  | { readonly step: 'released' }
  | { readonly step: 'unreleased'; readonly code: string }
  /** It is about to write one more than `before`: where it is killed meanwhile, `added` never comes. */
  | { readonly step: 'adding'; readonly name: string; readonly before: number }
  /** It had read the counter of a name as `before` and wrote one more, if its guard held. */
  | {
      readonly step: 'added';
      readonly name: string;
      readonly token: string;
      readonly before: number;
      readonly outcome: 'written' | 'refused' | 'unknown';
    }
  /** What watch() told of an exclusive name. */
  | { readonly step: 'state'; readonly name: string; readonly revision: string; readonly holders: readonly string[] }
  // What is done to it:
  | { readonly step: 'fault'; readonly what: string }
  | { readonly step: 'frozen' }
  | { readonly step: 'woken' }
  | { readonly step: 'killed' }
  /** What a counter stands at in the end. */
  | { readonly step: 'total'; readonly name: string; readonly value: number };

/** `client` is 'process.caller'; where a whole process is meant, 'process' alone. */
export type Event = Deed & { readonly at: number; readonly client: string };

/** Milliseconds of CLOCK_MONOTONIC; performance.now() counts from the start of each process. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6;

const steps = {
  asked: true,
  refused: true,
  'gave-up': true,
  held: true,
  certain: true,
  lost: true,
  releasing: true,
  released: true,
  unreleased: true,
  adding: true,
  added: true,
  state: true,
  fault: true,
  frozen: true,
  woken: true,
  killed: true,
  total: true,
} satisfies Record<Deed['step'], true>;

/** A process tells other things too. */
export const isEvent = (line: { readonly step: string }): line is Event => line.step in steps;

export const processOf = (client: string): string => client.split('.', 1)[0] ?? client;

export const inOrder = (history: readonly Event[]): Event[] => [...history].sort((a, b) => a.at - b.at);
