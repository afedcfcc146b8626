/**
 * The size of a transaction that creates many entries.
 *
 * etcd refuses a larger request, and gRPC may refuse it before etcd sees it. The check is done before anything is sent, because a large
 * request delays all others on its connection.
 */
import { InvalidOptionsError } from '../errors.ts';
import { queueRange } from '../keys.ts';

/** The default of etcd's `--max-request-bytes`, less room for the gate and for what etcd adds. */
const maxBytes = 1.5 * 1024 * 1024 - 8 * 1024;
/** The rest of an entry's key, the lease, and the tags and lengths of the fields. */
const restOfEntry = 100;

/** @throws {InvalidOptionsError} one transaction cannot create entries with `value` for all the names */
export function checkTransactionSize(action: string, prefix: string, names: readonly string[], value: string): void {
  const valueBytes = Buffer.byteLength(value);
  let bytes = 0;
  // The key of a queue appears three times: as both ends of a compared range, and at the beginning of the entry's key.
  for (const name of names) bytes += 3 * Buffer.byteLength(queueRange(prefix, name).key) + valueBytes + restOfEntry;
  if (bytes <= maxBytes) return;
  const most = Math.max(0, valueBytes - Math.ceil((bytes - maxBytes) / names.length));
  const message = `expected at most ${String(most)} bytes for ${String(names.length)} names, because one transaction of etcd holds 1.5 MiB, got ${String(valueBytes)} bytes; lockAll() takes any number of names`;
  throw new InvalidOptionsError(action, [{ path: 'value', message }]);
}
