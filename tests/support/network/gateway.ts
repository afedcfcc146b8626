/** Reads and changes etcd by its HTTP gateway, independently of the locker under test, without cache or retries. */
import { ask } from '../etcd/http.ts';

export interface StoredKey {
  readonly key: string;
  readonly value: string;
  readonly createRevision: bigint;
  readonly modRevision: bigint;
  readonly leaseId: string;
}

interface RangeResponse {
  readonly header: { readonly revision: string };
  readonly kvs?: readonly {
    readonly key: string;
    readonly value?: string;
    readonly create_revision: string;
    readonly mod_revision: string;
    readonly lease?: string;
  }[];
}

export class Gateway {
  readonly #endpoint: string;
  readonly #prefix: string;
  readonly #isShared: boolean;
  readonly #leases = new Set<string>();

  /** On a shared server, leases() returns only leases of keys under `prefix`. */
  constructor(endpoint: string, prefix: string, isShared: boolean) {
    this.#endpoint = endpoint;
    this.#prefix = prefix;
    this.#isShared = isShared;
  }

  /** Returns the keys that begin with `prefix` (default: the prefix of the lockers), oldest first. */
  async keys(prefix = this.#prefix): Promise<StoredKey[]> {
    const { kvs = [] } = await this.#range(prefix);
    for (const { lease } of kvs) if (lease !== undefined) this.#leases.add(lease);
    return kvs
      .map(({ key, value = '', create_revision, mod_revision, lease = '0' }) => ({
        key: decode(key),
        value: decode(value),
        createRevision: BigInt(create_revision),
        modRevision: BigInt(mod_revision),
        leaseId: lease,
      }))
      .sort((a, b) => (a.createRevision < b.createRevision ? -1 : 1));
  }

  /** Returns the queue of a name, holder first. Without a name: all entries. */
  async entries(name?: string): Promise<StoredKey[]> {
    const found = await this.keys(name === undefined ? this.#prefix : `${this.#prefix}${encodeURIComponent(name)}/`);
    return found.filter(({ key }) => !key.startsWith(`${this.#prefix}@sessions/`));
  }

  async leases(): Promise<string[]> {
    const { leases = [] } = await this.#post<{ readonly leases?: readonly { readonly ID: string }[] }>('/v3/lease/leases', {});
    if (this.#isShared) await this.keys();
    return leases.map(({ ID }) => ID).filter((id) => !this.#isShared || this.#leases.has(id));
  }

  async put(key: string, value: string): Promise<void> {
    await this.#post('/v3/kv/put', { key: encode(key), value: encode(value) });
  }

  async delete(key: string): Promise<void> {
    await this.#post('/v3/kv/deleterange', { key: encode(key) });
  }

  /** Revokes a lease, which deletes its keys. */
  async revoke(leaseId: string): Promise<void> {
    await this.#post('/v3/lease/revoke', { ID: leaseId });
  }

  async revision(): Promise<bigint> {
    return BigInt((await this.#range('\0none')).header.revision);
  }

  /** Compacts the history up to the current revision. */
  async compact(): Promise<void> {
    await this.#post('/v3/kv/compaction', { revision: String(await this.revision()), physical: true });
  }

  /** Defragments the file of one member, which does not respond during that time. */
  async defragment(endpoint = this.#endpoint): Promise<void> {
    await this.#post('/v3/maintenance/defragment', {}, endpoint);
  }

  #range(prefix: string): Promise<RangeResponse> {
    const end = Buffer.from(prefix);
    end[end.length - 1] = (end[end.length - 1] ?? 0) + 1;
    return this.#post('/v3/kv/range', { key: encode(prefix), range_end: end.toString('base64') });
  }

  async #post<T>(path: string, post: unknown, endpoint = this.#endpoint): Promise<T> {
    const { status, body } = await ask(endpoint, path, { post, timeoutMs: 3_000 });
    if (status !== 200) throw new Error(`${path} at ${endpoint} responded with ${String(status)}: ${body}`);
    return JSON.parse(body) as T;
  }
}

const encode = (text: string): string => Buffer.from(text).toString('base64');
const decode = (text: string): string => Buffer.from(text, 'base64').toString();
