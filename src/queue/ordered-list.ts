/**
 * A list in the order of arrival. Items leave it from any position, thousands of them in one tick.
 *
 * An item that has left stays in the array until it is at an end of it, or until such items are the larger part.
 */
export class OrderedList<T> implements Iterable<T> {
  readonly #isIn: (item: T) => boolean;
  #items: T[] = [];
  #from = 0;
  #size = 0;

  /** `isIn` reports whether an item that was pushed is still in the list. */
  constructor(isIn: (item: T) => boolean) {
    this.#isIn = isIn;
  }

  get size(): number {
    return this.#size;
  }

  get first(): T | undefined {
    for (; this.#from < this.#items.length; this.#from += 1) {
      const item = this.#items[this.#from];
      if (item !== undefined && this.#isIn(item)) return item;
    }
    return undefined;
  }

  get last(): T | undefined {
    for (; this.#items.length > this.#from; this.#items.pop()) {
      const item = this.#items.at(-1);
      if (item !== undefined && this.#isIn(item)) return item;
    }
    return undefined;
  }

  push(item: T): void {
    this.#items.push(item);
    this.#size += 1;
  }

  /** Takes in that one item has left. `isIn` returns false for it. */
  onLeave(): void {
    this.#size -= 1;
    if (this.#size > 0 && this.#items.length <= 2 * this.#size + 8) return;
    // A new array: a held name must not keep the memory that its callers took.
    this.#items = this.#size === 0 ? [] : [...this];
    this.#from = 0;
  }

  *[Symbol.iterator](): Generator<T, void, undefined> {
    const items = this.#items;
    for (let index = this.#from; index < items.length; index += 1) {
      const item = items[index];
      if (item !== undefined && this.#isIn(item)) yield item;
    }
  }
}
