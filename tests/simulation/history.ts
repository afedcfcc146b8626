/** What happened in a run, a line for each thing, told only to who asks: a run that fails is run again to be written down. */
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

  // Lease ids are random and long; what matters is which is which.
  #shorten(text: string): string {
    return text.replaceAll('locks/', '').replaceAll(/[0-9a-f]{12,}/g, (id) => {
      const hex = /^\d{17,}$/.test(id) && BigInt(id) < 1n << 63n && !this.#leases.has(id) ? BigInt(id).toString(16) : id;
      const known = this.#leases.get(id) ?? this.#leases.get(hex) ?? `S${this.#leases.size + 1}`;
      this.#leases.set(hex, known);
      return known;
    });
  }
}
