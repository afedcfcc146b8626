/**
 * The cluster that a locker belongs to: that of the first response.
 *
 * Hosts of two clusters would give out one lock twice. So a host with another cluster id counts as failed. The header is the first field
 * of every response, and the cluster id is its first field: the check compares a few bytes and decodes nothing.
 *
 * A cluster may be replaced, for example after its data is lost. The new id counts once each host that responds has had it for as long as
 * the longest TTL that was granted. All sessions are over by then, because none of them was renewed since.
 */
import type { Logger } from '../../context.ts';
import { CallFailure, isWrongPassword, status, toFailure } from './call-failure.ts';
import { methods, type RawClient } from './raw-client.ts';
import { encodeRange } from './wire/encode.ts';

/** The tags of the header in a response, and of the cluster id in the header. */
const [headerTag, idTag] = [0x0a, 0x08];
const idAt = 3;

export class Cluster {
  readonly #logger: Logger;
  readonly #key: string;
  readonly #warned = new Set<string>();
  /** The bytes of the id, as in a response. */
  #id: Buffer | undefined;
  /** Another id that each response has had since `since`. */
  #other: { readonly id: Buffer; readonly since: number } | undefined;
  #longestTtlMs = 0;

  /** @param prefix a key that the user may read */
  constructor(logger: Logger, prefix: string) {
    this.#logger = logger;
    this.#key = prefix === '' ? '\0' : prefix;
  }

  onGrant(ttlSeconds: number): void {
    this.#longestTtlMs = Math.max(this.#longestTtlMs, ttlSeconds * 1000);
  }

  /** Checks each response that `client` gets from the host at `address`. */
  guard(client: RawClient, address: string): RawClient {
    let isKnown = false;
    const check = (response: Buffer): Buffer => {
      isKnown = false;
      this.#check(address, response);
      isKnown = true;
      return response;
    };
    return {
      call: async (method, request, until) => {
        try {
          return check(await client.call(method, request, until));
        } catch (error) {
          // A refusal has no header. A host that was not checked yet may refuse because it knows neither the lease nor the user.
          const failure = toFailure(error);
          // A read with a wrong password would be refused as well.
          if (!isKnown && failure.kind === 'refused' && !isWrongPassword(failure)) {
            const read = encodeRange({ key: this.#key, keysOnly: true });
            const response = await client.call(methods.range, read, until).catch(() => undefined);
            if (response !== undefined) check(response);
          }
          throw error;
        }
      },
      stream: (method, listener, until) => {
        let isFailed = false;
        const message = (bytes: Buffer): void => {
          if (isFailed) return;
          try {
            check(bytes);
          } catch (error) {
            isFailed = true;
            listener.ended(toFailure(error));
            return;
          }
          listener.message(bytes);
        };
        const ended = (failure: CallFailure): void => {
          if (!isFailed) listener.ended(failure);
        };
        return client.stream(method, { message, ended }, until);
      },
      close: () => {
        client.close();
      },
    };
  }

  #check(address: string, response: Buffer): void {
    // Some proxies leave the id out.
    if (response[0] !== headerTag || response[2] !== idTag) return;
    if (this.#id === undefined) {
      this.#id = idIn(response);
    } else if (hasId(response, this.#id)) {
      this.#other = undefined;
    } else if (!this.#accepts(idIn(response))) {
      const reason = `belongs to another cluster: ${toHex(idIn(response))} instead of ${toHex(this.#id)}`;
      if (!this.#warned.has(address)) this.#logger.warn(`etcd-locker: ${address} ${reason}`);
      this.#warned.add(address);
      throw new CallFailure(status.failedPrecondition, reason);
    }
  }

  /** Whether the other id has replaced the known one. */
  #accepts(id: Buffer): boolean {
    const now = performance.now();
    if (this.#other?.id.equals(id) !== true) this.#other = { id, since: now };
    if (now - this.#other.since < this.#longestTtlMs) return false;
    this.#logger.warn(`etcd-locker: the cluster ${toHex(id)} has replaced ${toHex(this.#id)}`);
    this.#id = id;
    this.#other = undefined;
    this.#warned.clear();
    return true;
  }
}

function hasId(response: Buffer, id: Buffer): boolean {
  for (let index = 0; index < id.length; index += 1) if (response[idAt + index] !== id[index]) return false;
  return true;
}

/** Returns a copy of the number in its encoded form. Each byte but its last has the highest bit set. */
function idIn(response: Buffer): Buffer {
  let end = idAt;
  while ((response[end] ?? 0) >= 0x80) end += 1;
  return Buffer.from(response.subarray(idAt, end + 1));
}

/** Returns the id as `etcdctl` prints it. */
const toHex = (id: Buffer = Buffer.alloc(0)): string =>
  id.reduceRight((value, byte) => (value << 7n) | BigInt(byte & 0x7f), 0n).toString(16);
