/** What happened in a run, a line for each thing, told only to who asks: a run that fails is run again to be written down. */
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

  tell(who: string, what: () => string): void {
    if (!this.#isOn) return;
    const at = (this.#now() / 1000).toFixed(4).padStart(9);
    this.#lines.push(`${at}  ${who.padEnd(8)} ${this.#shorten(what())}`);
  }

  /** Lease ids are random and long; what matters is which is which. */
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
