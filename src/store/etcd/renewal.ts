/**
 * The renewal of a lease at one host.
 *
 * The keepalive goes first, then a linearizable read at the same host. A former leader that was frozen responds to keepalives from its
 * own memory. It cannot respond to the read with the term that it put into the keepalive's header.
 */
import { deferred } from '../../deferred.ts';
import type { Renewal } from '../store.ts';
import { isUnauthenticated, noResponse, toFailure } from './call-failure.ts';
import type { Host } from './host.ts';
import { methods } from './raw-client.ts';
import { decodeKeepAlive, decodeRange, type KeepAliveResponse } from './wire/decode.ts';
import { encodeLease, encodeRange } from './wire/encode.ts';

/** @throws {CallFailure} within `timeoutMs` */
export async function renewAt(host: Host, leaseId: string, gateKey: string, timeoutMs: number): Promise<Renewal> {
  const until = performance.now() + timeoutMs;
  const timeLeftMs = (): number => Math.max(1, until - performance.now());
  const readGate = async () => decodeRange(await host.call(timeLeftMs(), methods.range, encodeRange({ key: gateKey })));
  let response: KeepAliveResponse;
  try {
    response = await keepAlive(host, leaseId, timeLeftMs());
  } catch (error) {
    const failure = toFailure(error);
    if (!isUnauthenticated(failure) && failure.kind !== 'stale-token') throw error;
    // A stream does not authenticate again. A unary call does, and later streams use its token. If a change of permissions has
    // outdated the token, this call fails too, and the next renewal gets a new token.
    await readGate();
    response = await keepAlive(host, leaseId, timeLeftMs());
  }
  const { header, kvs } = await readGate();
  return { renewed: response.ttlSeconds > 0 && response.header.raftTerm === header.raftTerm, gate: kvs[0] ?? null };
}

/** Uses one stream for one renewal, so that no broken stream goes unnoticed. */
async function keepAlive(host: Host, leaseId: string, timeoutMs: number): Promise<KeepAliveResponse> {
  const until = performance.now() + timeoutMs;
  const response = deferred<Buffer>();
  response.promise.catch(() => undefined); // awaited below, if the stream opens
  const stream = await host.stream(timeoutMs, methods.keepAlive, { message: response.resolve, ended: response.reject });
  const timer = setTimeout(() => {
    stream.timeOut();
    response.reject(noResponse(timeoutMs));
  }, until - performance.now()).unref();
  try {
    stream.write(encodeLease(leaseId));
    return decodeKeepAlive(await response.promise);
  } finally {
    clearTimeout(timer);
    stream.end();
  }
}
