/** The `Lock` object of a callback: the members of the specification, and this package's signal, token and guard. */
import type { Lock } from '../lock/lock.ts';
import type { HeldLock, LockMode } from './types.ts';

export class WebLock implements HeldLock {
  readonly #lock: Pick<Lock, 'name' | 'mode' | 'fencingToken' | 'guard'>;
  readonly #signal: AbortSignal;

  constructor(lock: Pick<Lock, 'name' | 'mode' | 'fencingToken' | 'guard'>, signal: AbortSignal) {
    this.#lock = lock;
    this.#signal = signal;
    Object.freeze(this);
  }

  get name(): string {
    return this.#lock.name;
  }

  get mode(): LockMode {
    return this.#lock.mode;
  }

  get signal(): AbortSignal {
    return this.#signal;
  }

  get fencingToken(): bigint {
    return this.#lock.fencingToken;
  }

  get guard(): Lock['guard'] {
    return this.#lock.guard;
  }
}

defineInterface(WebLock, 'Lock', ['name', 'mode', 'signal', 'fencingToken', 'guard']);

/** Gives a class the form of a Web IDL interface: its members are enumerable, it has the interface's name, and `new` throws. */
export function defineInterface({ prototype }: { readonly prototype: object }, name: string, members: readonly string[]): void {
  for (const member of members) Object.defineProperty(prototype, member, { enumerable: true });
  const constructor = function (): never {
    throw new TypeError('Illegal constructor');
  };
  Object.defineProperty(constructor, 'name', { value: name });
  Object.defineProperty(constructor, 'prototype', { value: prototype, writable: false });
  Object.defineProperty(prototype, 'constructor', { value: constructor });
  Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
}
