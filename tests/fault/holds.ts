/** Reads from the history when each client was certain of each lock. */
import type { Event, Hold } from './history.ts';

export interface Held {
  readonly name: string;
  readonly client: string;
  readonly token: bigint;
  /** The number of holders that may hold together. Infinity for a shared lock. */
  readonly slots: number;
  readonly from: number;
  readonly until: number;
}

interface Open {
  readonly from: number;
  readonly holds: readonly Hold[];
  until: number | undefined;
  isOver: boolean;
}

/** Returns the locks that were certain for any time, in the order of `from`. Reports a lock that is certain again after its end. */
export function holdsOf(events: readonly Event[], onViolation: (message: string) => void): Held[] {
  const open = new Map<string, Open>();
  const all: { readonly client: string; readonly one: Open }[] = [];
  for (const { client, at, ...deed } of events) {
    const one = open.get(client);
    if (deed.step === 'held') {
      const fresh: Open = { from: at, holds: deed.holds, until: undefined, isOver: false };
      open.set(client, fresh);
      all.push({ client, one: fresh });
    } else if (deed.step === 'certain' && one !== undefined) {
      if (one.isOver)
        onViolation(`${client} at ${at.toFixed(1)} holds ${one.holds.map(({ name }) => name).join()} again after it was lost or released`);
      one.until = at;
    } else if ((deed.step === 'lost' || deed.step === 'releasing') && one !== undefined) {
      one.isOver = true;
    }
  }
  return all
    .flatMap(({ client, one: { from, until, holds } }) =>
      until === undefined
        ? []
        : holds.map(({ name, token, slots }) => ({ name, client, token: BigInt(token), slots: slots ?? Infinity, from, until })),
    )
    .sort((a, b) => a.from - b.from);
}
