/** Finds the times in which a name was wanted and no client was certain to hold it. */
import { processOf, type Event } from './history.ts';
import type { Held } from './holds.ts';

export interface Gap {
  readonly name: string;
  readonly from: number;
  readonly ms: number;
}

interface Change {
  readonly at: number;
  readonly wanted: number;
  readonly held: number;
}

export function gapsOf(events: readonly Event[], holds: readonly Held[]): Gap[] {
  const changes = demandChanges(events);
  for (const { name, from, until } of holds) {
    changes.get(name)?.push({ at: from, wanted: 0, held: 1 }, { at: until, wanted: 0, held: -1 });
  }
  return [...changes].flatMap(([name, mine]) => gapsIn(name, mine));
}

function gapsIn(name: string, changes: readonly Change[]): Gap[] {
  const gaps: Gap[] = [];
  let [wanted, held] = [0, 0];
  let from: number | undefined;
  for (const change of [...changes].sort((a, b) => a.at - b.at)) {
    wanted += change.wanted;
    held += change.held;
    if (wanted > 0 && held === 0) {
      from ??= change.at;
    } else if (from !== undefined) {
      gaps.push({ name, from, ms: change.at - from });
      from = undefined;
    }
  }
  return gaps;
}

/** A client wants its names from the request to the result, except while its process is frozen or killed. */
function demandChanges(events: readonly Event[]): Map<string, Change[]> {
  const changes = new Map<string, Change[]>();
  const wantedNames = new Map<string, readonly string[]>();
  const frozen = new Set<string>();
  const end = events.at(-1)?.at ?? 0;
  const add = (names: readonly string[], at: number, wanted: number): void => {
    for (const name of names) {
      const mine = changes.get(name) ?? [];
      changes.set(name, mine);
      mine.push({ at, wanted, held: 0 });
    }
  };
  const ofProcess = (id: string): (readonly string[])[] =>
    [...wantedNames].filter(([client]) => processOf(client) === id).map(([, names]) => names);
  for (const event of events) {
    const { at, client } = event;
    if (event.step === 'requested') {
      wantedNames.set(client, event.names);
      if (!frozen.has(processOf(client))) add(event.names, at, 1);
    } else if (event.step === 'held' || event.step === 'abandoned') {
      if (!frozen.has(processOf(client))) add(wantedNames.get(client) ?? [], at, -1);
      wantedNames.delete(client);
    } else if ((event.step === 'frozen' || event.step === 'killed') && !frozen.has(client)) {
      for (const names of ofProcess(client)) add(names, at, -1);
      frozen.add(client);
    } else if (event.step === 'woken' && frozen.delete(client)) {
      for (const names of ofProcess(client)) add(names, at, 1);
    }
  }
  for (const [client, names] of wantedNames) if (!frozen.has(processOf(client))) add(names, end, -1);
  return changes;
}
