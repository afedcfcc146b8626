/**
 * The meaning of a failed call: whether etcd can have applied it, and which error the caller gets.
 *
 * Nothing was applied only if etcd itself worded the refusal, or if the call failed before its first byte. Lack of space is the
 * exception: etcd also reports it for a call that it has applied. Every other outcome is unknown. The words are those of etcd's
 * api/v3rpc/rpctypes/error.go. Errors of etcd3 have no status code, but their message begins with it.
 */
import { EtcdAuthError, EtcdRefusedError, type HostFailure, LeaseNotFoundError } from '../../errors.ts';
import { quote } from '../../text.ts';
import { tlsProblem } from './tls-problems.ts';

export type FailureKind =
  /** The call never left this process, or the member does not serve it, as a learner. Nothing was applied; it may go to the next host. */
  | 'unsent'
  /** One side does not trust the other's certificate. The call never left this process, and a retry fails too. */
  | 'untrusted'
  /** etcd refused the call. Nothing was applied. */
  | 'refused'
  /** etcd refused the call for lack of space. It may have applied it in the moment in which its space ran out. */
  | 'no-space'
  /** etcd refused an outdated token. Nothing was applied, and a retry with a new token may succeed. */
  | 'stale-token'
  /** etcd may have applied the call, may apply it later, or may never apply it. */
  | 'unknown';

export class CallFailure extends Error {
  override readonly name = 'CallFailure';
  readonly kind: FailureKind;
  readonly code: number;
  readonly details: string;

  constructor(code: number, details: string, cause?: unknown) {
    super(details, { cause });
    const tls = tlsProblem(details);
    this.code = code;
    this.details = tls?.words ?? withoutFrame(details);
    this.kind = tls?.isCertain === true ? 'untrusted' : kindOf(code, details);
  }
}

/** The reason why a connection failed, without the words that grpc-js puts around it. Users see it for each host. */
function withoutFrame(details: string): string {
  const [, seconds] = /^Deadline exceeded after ([\d.]+)s,.*remote_addr=/.exec(details) ?? [];
  if (seconds !== undefined) return noResponse(Number(seconds) * 1_000).details;
  const [, reason, note] = /^No connection established\. Last error: (?:Error: )?(.+?)\. Resolution note: (.*)$/s.exec(details) ?? [];
  if (reason === undefined || note === undefined) return details;
  const plain = reason === 'null' ? 'no connection established' : reason;
  return note === '' ? plain : `${plain}; ${note}`;
}

/** The status codes of gRPC that make a difference here. */
export const status = {
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
};

const unsent = [
  /^the function (auth|credentials) /,
  /^No connection established/,
  /^Name resolution failed/,
  /before call started$/,
  /^Failed to parse DNS address/,
  /waiting for (LB pick|name resolution)/i,
  // The state of one member. Its status code differs from version to version, so the words decide.
  /^etcdserver: (too many requests|rpc not supported for learner|not capable|not leader|no leader)$/,
  /^belongs to another cluster/,
  // Raft has no leader to propose to, or the leader is about to go.
  /^raft proposal dropped$/,
];

/** Too large for each host. A response that is too large for this process is worded without "grpc:". */
const tooLarge = [/^grpc: received message .*larger than max/, /^Attempted to send message with a size larger than/];

/** With these codes etcd words refusals only. */
const refusing: ReadonlySet<number> = new Set([
  status.invalidArgument,
  status.notFound,
  status.permissionDenied,
  status.failedPrecondition,
  status.outOfRange,
  status.unauthenticated,
]);

/** After a corrupt alarm etcd refuses each write before it applies it, until an operator ends the alarm. */
const isCorrupt = (code: number, details: string): boolean => code === status.dataLoss && details.startsWith('etcdserver:');

/** The response is too large for this process, from each host. A write has been applied then. */
export const isResponseTooLarge = ({ details }: CallFailure): boolean => /^Received message .*larger than max/.test(details);

const isTooLarge = (details: string): boolean => tooLarge.some((form) => form.test(details));

export const isStaleToken = (details: string): boolean =>
  /invalid auth token|revision of auth store is old|user name is empty/.test(details);

function kindOf(code: number, details: string): FailureKind {
  // First, because the message of a function may repeat words of etcd.
  if (unsent.some((form) => form.test(details))) return 'unsent';
  if (isStaleToken(details)) return 'stale-token';
  if (refusing.has(code) || isCorrupt(code, details) || isTooLarge(details)) return 'refused';
  if (/database space exceeded/.test(details)) return 'no-space';
  // Without etcd's own words the response may have been too large for this process.
  return code === status.resourceExhausted && details.startsWith('etcdserver:') ? 'refused' : 'unknown';
}

export function toFailure(error: unknown): CallFailure {
  if (error instanceof CallFailure) return error;
  const message = error instanceof Error ? error.message : String(error);
  const [, code, details] = /(\d+) [A-Z_]+: (.*)/s.exec(message) ?? [];
  if (code !== undefined && details !== undefined) return new CallFailure(Number(code), details, error);
  // etcd3 sends nothing on a client that was closed in the same tick.
  if (/client was already closed/.test(message)) return new CallFailure(status.unavailable, 'Channel closed before call started', error);
  return new CallFailure(2, message, error);
}

export const noResponse = (timeoutMs: number): CallFailure =>
  new CallFailure(status.deadlineExceeded, `no response within ${String(Math.round(timeoutMs))} ms`);

export const isWrongPassword = ({ details }: CallFailure): boolean => /authentication failed/.test(details);

export const isUnauthenticated = (failure: CallFailure): boolean => failure.code === status.unauthenticated;

export const isDenied = (failure: CallFailure): boolean => failure.code === status.permissionDenied;

/** The error if TLS with every host failed for lack of trust. */
export function toMistrust(hosts: readonly HostFailure[], prefix: string): EtcdAuthError {
  const list = hosts.map(({ host, reason }) => `${host} (${reason})`).join(', ');
  return new EtcdAuthError(
    prefix,
    `TLS failed with ${list}`,
    'the option credentials and the certificates of the servers must fit together',
  );
}

/** The error if a failure at one host shows that no retry there can help. */
export function toFinal(failure: CallFailure, host: string, prefix: string): EtcdAuthError | undefined {
  if (failure.kind === 'untrusted') return toMistrust([{ host, reason: failure.details }], prefix);
  const refusal = failure.kind === 'refused' ? toRefusal(failure, prefix) : undefined;
  return refusal instanceof EtcdAuthError ? refusal : undefined;
}

/** The error that the layers above the port get for a refusal. */
export function toRefusal({ code, details }: CallFailure, prefix: string): Error {
  if (/lease not found/.test(details)) return new LeaseNotFoundError(details);
  const isAuth =
    code === status.permissionDenied ||
    code === status.unauthenticated ||
    /authentication (failed|is not enabled)|user name (is empty|not found)/.test(details) ||
    isStaleToken(details);
  if (!isAuth) return new EtcdRefusedError(details, { isFinal: isCorrupt(code, details) });
  const role = `the role needs readwrite permission for the prefix ${quote(prefix)}`;
  if (/authentication failed/.test(details))
    return new EtcdAuthError(prefix, details, `the option auth needs the name and the password of a user of etcd; ${role}`);
  if (/user name is empty/.test(details))
    return new EtcdAuthError(prefix, details, `authentication is on, so the option auth needs a user of etcd; ${role}`);
  return new EtcdAuthError(prefix, details);
}
