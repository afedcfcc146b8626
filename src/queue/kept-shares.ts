/** The kept entries that a call takes as its own: a try for one or more names. */
import type { Entry } from '../entry/entry.ts';
import { EntryGoneError } from '../entry/value-writer.ts';
import type { ResolvedLockOptions } from '../options/options.ts';
import type { Keeper } from './keeper.ts';
import type { KeptEntry } from './kept-entry.ts';

interface Share {
  readonly keeper: Keeper;
  readonly kept: KeptEntry;
}

export class KeptShares {
  readonly #shares = new Map<string, Share>();
  readonly #reserved: Promise<void>[] = [];

  /** Reserves what is kept of the names for a call with `options`. What it cannot use is given back. */
  constructor(names: readonly string[], keeperOf: (name: string) => Keeper | undefined, options: ResolvedLockOptions) {
    for (const name of names) {
      const keeper = keeperOf(name);
      const reserved = keeper?.whenDecided();
      if (reserved !== undefined) this.#reserved.push(reserved);
      const kept = keeper?.reserve(options);
      if (keeper !== undefined && kept !== undefined) this.#shares.set(name, { keeper, kept });
    }
  }

  /** Resolves once the earlier calls that have reserved some of the names hold them or not. Undefined if there are none. */
  whenOthersDecided(): Promise<unknown> | undefined {
    return this.#reserved.length === 0 ? undefined : Promise.all(this.#reserved);
  }

  get size(): number {
    return this.#shares.size;
  }

  entryOf(name: string): Entry | undefined {
    return this.#shares.get(name)?.kept.entry;
  }

  /** Whether all of them may be given out. Reads the clocks. */
  get areSafe(): boolean {
    return [...this.#shares.values()].every(({ kept }) => kept.isSafe);
  }

  haveValue(value: string): boolean {
    return [...this.#shares.values()].every(({ kept }) => kept.entry.hasValue(value));
  }

  /** Writes the value of the caller where it differs. An entry that is gone meanwhile is not safe afterwards. */
  async write(value: string): Promise<void> {
    const others = [...this.#shares.values()].map(({ kept }) => kept.entry).filter((entry) => !entry.hasValue(value));
    const outcomes = await Promise.allSettled(others.map((entry) => entry.setValue(value)));
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected' && !(outcome.reason instanceof EntryGoneError)) throw outcome.reason;
    }
  }

  /** Puts back those that the caller does not hold. */
  putBack(): void {
    for (const { keeper, kept } of this.#shares.values()) keeper.putBack(kept);
    this.#shares.clear();
  }
}
