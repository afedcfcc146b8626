/** The `Lock` object that a callback gets: the specification's members, and its signal, token and guard. */
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

likeWebIDL(WebLock, 'Lock', ['name', 'mode', 'signal', 'fencingToken', 'guard']);

/** Web IDL's members are enumerable, its objects tell the interface's name, and nobody but the library makes one. */
export function likeWebIDL({ prototype }: { readonly prototype: object }, name: string, members: readonly string[]): void {
  for (const member of members) Object.defineProperty(prototype, member, { enumerable: true });
  const constructor = function (): never {
    throw new TypeError('Illegal constructor');
  };
  Object.defineProperty(constructor, 'name', { value: name });
  Object.defineProperty(constructor, 'prototype', { value: prototype, writable: false });
  Object.defineProperty(prototype, 'constructor', { value: constructor });
  Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
}
