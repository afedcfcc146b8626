/** Reads from the /metrics of etcd the number of calls and the used processor time. */
import { compareVersions } from '../support/etcd/binary.ts';
import { ask } from '../support/etcd/http.ts';

export interface ServerCounts {
  /** Counts by method: calls of unary methods, and messages of the client on streams. */
  readonly calls: Readonly<Record<string, number>>;
  readonly cpuMs: number;
}

const unary = /^grpc_server_handled_total\{.*grpc_method="(\w+)",grpc_service="etcdserverpb\.(?:KV|Lease)",grpc_type="unary"\} (\S+)$/gm;
const streams =
  /^grpc_server_msg_received_total\{grpc_method="(\w+)",grpc_service="etcdserverpb\.(?:Watch|Lease)",grpc_type="bidi_stream"\} (\S+)$/gm;

// Since 3.6 the end of a stream counts as a message too.
const endedStreams =
  /^grpc_server_handled_total\{.*grpc_method="(\w+)",grpc_service="etcdserverpb\.(?:Watch|Lease)",grpc_type="bidi_stream"\} (\S+)$/gm;
const countsEnds = (text: string): boolean =>
  compareVersions(/^etcd_server_version\{server_version="([^"]+)"\} 1$/m.exec(text)?.[1] ?? '3.5', '3.6') >= 0;

/** Returns the sums of all members. */
export async function serverCounts(endpoints: readonly string[]): Promise<ServerCounts> {
  const texts = await Promise.all(endpoints.map(async (endpoint) => (await ask(endpoint, '/metrics', { timeoutMs: 5_000 })).body));
  const calls: Record<string, number> = {};
  let cpuMs = 0;
  for (const text of texts) {
    for (const [, method = '', count] of [...text.matchAll(unary), ...text.matchAll(streams)]) {
      calls[method] = (calls[method] ?? 0) + Number(count);
    }
    for (const [, method = '', count] of countsEnds(text) ? text.matchAll(endedStreams) : []) {
      calls[method] = (calls[method] ?? 0) - Number(count);
    }
    cpuMs += 1_000 * Number(/^process_cpu_seconds_total (\S+)$/m.exec(text)?.[1] ?? 0);
  }
  return { calls, cpuMs };
}

/** Returns the difference to `before`, without methods that were not called. */
export function since(before: ServerCounts, after: ServerCounts): ServerCounts {
  const calls = Object.entries(after.calls)
    .map(([method, count]) => [method, count - (before.calls[method] ?? 0)] as const)
    .filter(([, count]) => count > 0);
  return { calls: Object.fromEntries(calls), cpuMs: after.cpuMs - before.cpuMs };
}

/** Splits the counts into unary calls and messages on streams. */
export function callsAndMessages(calls: Readonly<Record<string, number>>): readonly [calls: number, messages: number] {
  const messages = (calls['Watch'] ?? 0) + (calls['LeaseKeepAlive'] ?? 0);
  return [totalCalls(calls) - messages, messages];
}

export function totalCalls(calls: Readonly<Record<string, number>>): number {
  return Object.values(calls).reduce((sum, count) => sum + count, 0);
}
