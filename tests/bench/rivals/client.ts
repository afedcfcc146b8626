/** What each rival in Node is made to look like. */

/** Everything the bench writes to etcd begins with it. */
export const prefix = 'bench/';

export interface Held {
  release(): Promise<unknown>;
}

export interface Client {
  /** Waits its turn, or until `signal` aborts. */
  lock(name: string, signal?: AbortSignal): Promise<Held>;
  /** As `lock`, together with others who share it. */
  lockShared?(name: string): Promise<Held>;
  /** null where somebody has it. */
  tryLock?(name: string): Promise<Held | null>;
  inspect?(name: string): Promise<unknown>;
  /** Calls `onFree` each time that nobody holds the name any more; resolves once it watches, to what ends it. */
  watch?(name: string, onFree: () => void): Promise<() => Promise<unknown>>;
  put?(name: string): Promise<unknown>;
  close(): Promise<unknown>;
}

export type OpenClient = (hosts: readonly string[], ttlSeconds: number) => Promise<Client>;
