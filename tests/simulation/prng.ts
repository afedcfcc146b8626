/** Random numbers from a seed. Each part of a run forks its own stream, so that leaving out one part does not shift the others. */
export class Prng {
  readonly #seed: number;
  #state: number;

  constructor(seed: number) {
    this.#seed = seed >>> 0;
    this.#state = this.#seed;
  }

  fork(name: string): Prng {
    return new Prng(hash(name, this.#seed));
  }

  /** Returns a number from 0 to below 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    return finish(this.#state);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  between(from: number, to: number): number {
    return from + this.next() * (to - from);
  }

  integer(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  /** Returns mostly small numbers, and sometimes one near `max`, because both ends of a range find bugs. */
  skewed(from: number, max: number): number {
    return from + this.next() ** 3 * (max - from);
  }

  pick<T>(list: readonly [T, ...T[]]): T {
    return list[this.integer(0, list.length - 1)] ?? list[0];
  }

  /** Returns an element of a list that may be empty. */
  choose<T>(list: readonly T[]): T | undefined {
    const at = this.integer(0, Math.max(0, list.length - 1));
    return list[at];
  }
}

/** Returns a number from 0 to below 1 that depends on `seed` and `key` alone. */
export const fraction = (seed: number, key: number): number =>
  finish((Math.imul(seed | 0, 0x9e3779b1) ^ Math.imul(key | 0, 0x85ebca6b)) | 0);

function finish(state: number): number {
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
}

function hash(text: string, seed: number): number {
  let state = seed ^ 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) state = Math.imul(state ^ text.charCodeAt(at), 0x01000193);
  return Math.floor(finish(state) * 4_294_967_296);
}
