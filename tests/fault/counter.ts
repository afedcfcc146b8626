/** A counter in etcd. Each holder of a name increments it in a transaction with the guard of its lock. */
import { Etcd3, type IOptions } from 'etcd3';
import type { Lock } from '../../src/index.ts';

export interface Increment {
  readonly before: number;
  readonly outcome: 'written' | 'refused' | 'unknown';
}

type Policy = ReturnType<NonNullable<NonNullable<IOptions['faultHandling']>['host']>>;

const tryMs = 700;
const noEvent = () => ({ dispose: () => undefined });
const neverAborted = new AbortController().signal;

/** The default policy of etcd3 would repeat a write. */
function noPolicy(): Policy {
  const policy: Omit<Policy, '_altReturn'> = {
    onSuccess: noEvent,
    onFailure: noEvent,
    execute: async (call) => call({ signal: neverAborted }),
  };
  return policy as Policy;
}

export class Counter implements Disposable {
  readonly #members: readonly string[];
  readonly #prefix: string;
  readonly #auth: IOptions['auth'];
  #memberIndex: number;
  #client: Etcd3 | undefined;

  constructor(members: readonly string[], prefix: string, auth: { readonly username: string; readonly password: string } | undefined) {
    this.#members = members;
    this.#prefix = prefix;
    this.#auth = auth === undefined ? undefined : { ...auth, callOptions: () => ({ deadline: Date.now() + tryMs }) };
    this.#memberIndex = Math.floor(Math.random() * members.length);
  }

  /** Returns undefined if no member responded while the lock was held. */
  async read(lock: Lock): Promise<number | undefined> {
    while (lock.held) {
      try {
        return (await this.#call((client) => client.get(this.#keyOf(lock)).options(deadline()).number())) ?? 0;
      } catch {
        // A read may be repeated, so it goes to the next member.
      }
    }
    return undefined;
  }

  /** Sends the write once. A repeated write could undo a later write of the same holder. */
  async write(lock: Lock, before: number): Promise<Increment> {
    const put = (client: Etcd3) =>
      client
        .if(...lock.guard)
        .then(client.put(this.#keyOf(lock)).value(before + 1))
        .options(deadline())
        .commit();
    try {
      const { succeeded } = await this.#call(put);
      return { before, outcome: succeeded ? 'written' : 'refused' };
    } catch {
      return { before, outcome: 'unknown' };
    }
  }

  [Symbol.dispose](): void {
    this.#client?.close();
  }

  #keyOf({ name }: Lock): string {
    return `${this.#prefix}${name}`;
  }

  async #call<T>(request: (client: Etcd3) => Promise<T>): Promise<T> {
    const client = (this.#client ??= this.#connect());
    try {
      return await request(client);
    } catch (error) {
      client.close();
      if (this.#client === client) {
        this.#client = undefined;
        this.#memberIndex += 1;
      }
      throw error;
    }
  }

  #connect(): Etcd3 {
    const auth = this.#auth;
    return new Etcd3({
      hosts: this.#members[this.#memberIndex % this.#members.length] ?? '',
      faultHandling: { host: noPolicy, global: noPolicy() },
      ...(auth === undefined ? {} : { auth }),
    });
  }
}

const deadline = () => ({ deadline: Date.now() + tryMs });
