/** The history of a run, one line for each event. Recording is off by default: a run that fails is repeated with recording on. */
import { leaseHex } from '../../src/keys.ts';

export class History {
  readonly #isOn: boolean;
  readonly #now: () => number;
  readonly #lines: string[] = [];
  readonly #leases = new Map<string, string>();

  constructor(isOn: boolean, now: () => number) {
    this.#isOn = isOn;
    this.#now = now;
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  add(source: string, describe: () => string): void {
    if (!this.#isOn) return;
    const at = (this.#now() / 1000).toFixed(4).padStart(9);
    this.#lines.push(`${at}  ${source.padEnd(8)} ${this.#shorten(describe())}`);
  }

  /** Gives a lease a short name (S1, S2, ...) that replaces its long random id in the history. */
  nameLease(leaseId: string): void {
    const name = `S${String(this.#leases.size / 2 + 1)}`;
    if (this.#leases.has(leaseId)) return;
    this.#leases.set(leaseId, name);
    this.#leases.set(leaseHex(leaseId), name);
  }

  #shorten(text: string): string {
    return text.replaceAll('locks/', '').replaceAll(/[0-9a-f]{8,}/g, (id) => this.#leases.get(id) ?? id);
  }
}
