/** The common interface of the rivals in Node. */

/** The prefix of all keys of the bench. */
export const prefix = 'bench/';

export interface Held {
  release(): Promise<unknown>;
}

export interface Client {
  /** Waits for the lock, or until `signal` aborts. */
  lock(name: string, signal?: AbortSignal): Promise<Held>;
  /** Waits for a shared lock. */
  lockShared?(name: string): Promise<Held>;
  /** Returns null if the name is taken. */
  tryLock?(name: string): Promise<Held | null>;
  /** Calls `onFree` each time that the name becomes free. Resolves when the watch runs, with the function that ends it. */
  watch?(name: string, onFree: () => void): Promise<() => Promise<unknown>>;
  put?(name: string): Promise<unknown>;
  /** Reads one key from the member that is connected, without a quorum. */
  read?(name: string): Promise<unknown>;
  close(): Promise<unknown>;
}

export type OpenClient = (hosts: readonly string[], ttlSeconds: number) => Promise<Client>;
