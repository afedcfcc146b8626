/**
 * What a failed call means: whether it can have been applied, and what the caller is told.
 *
 * etcd3 drops the status code of a call of its own, but its message still begins with it. Only a refusal that etcd itself worded, or a
 * failure before the first byte, proves that nothing was applied; all else is unknown.
 */
import { EtcdAuthError, EtcdRefusedError, type HostFailure } from '../../errors.ts';
import { LeaseNotFoundError } from '../store.ts';
import { tlsProblem } from './tls-problems.ts';

export type FailureKind =
  /** It never left this process, or was turned away for the moment: safe to send again. */
  | 'unsent'
  /** One side does not take the other's certificate: it never left this process, and will not the next time either. */
  | 'untrusted'
  /** etcd said no: nothing was applied. */
  | 'refused'
  /** etcd said no, but at the moment in which its space runs out it says so of what it has applied. */
  | 'no-space'
  /** Refused for an outdated token: nothing was applied, and a new token will do better. */
  | 'stale-token'
  /** It may be applied or not, now or later. */
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
    this.details = tls?.words ?? details;
    this.kind = tls?.isCertain === true ? 'untrusted' : kindOf(code, details);
  }
}

/** Those of grpc's status codes that make a difference here. */
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
  unauthenticated: 16,
};

const unsent = [
  /^No connection established/,
  /^Name resolution failed/,
  /before call started$/,
  /^Failed to parse DNS address/,
  /waiting for (LB pick|name resolution)/i,
];

export const isStaleToken = (details: string): boolean =>
  /invalid auth token|revision of auth store is old|user name is empty/.test(details);

function kindOf(code: number, details: string): FailureKind {
  if (isStaleToken(details)) return 'stale-token';
  if (/etcdserver: too many requests/.test(details) || unsent.some((form) => form.test(details))) return 'unsent';
  const { invalidArgument, notFound, permissionDenied, failedPrecondition, outOfRange, unauthenticated, resourceExhausted } = status;
  if ([invalidArgument, notFound, permissionDenied, failedPrecondition, outOfRange, unauthenticated].includes(code)) return 'refused';
  if (/database space exceeded/.test(details)) return 'no-space';
  // Without etcd's own words it may be our side that found the ANSWER too large.
  return code === resourceExhausted && details.startsWith('etcdserver:') ? 'refused' : 'unknown';
}

export function toFailure(error: unknown): CallFailure {
  if (error instanceof CallFailure) return error;
  const message = error instanceof Error ? error.message : String(error);
  const [, code, details] = /(\d+) [A-Z_]+: (.*)/s.exec(message) ?? [];
  if (code !== undefined && details !== undefined) return new CallFailure(Number(code), details, error);
  // etcd3 refuses a call on a client that was closed in the same turn before anything is sent.
  if (/client was already closed/.test(message)) return new CallFailure(status.unavailable, 'Channel closed before call started', error);
  return new CallFailure(2, message, error);
}

export const noAnswer = (timeoutMs: number): CallFailure =>
  new CallFailure(status.deadlineExceeded, `no answer within ${String(Math.round(timeoutMs))} ms`);

export const isUnauthenticated = (failure: CallFailure): boolean => failure.code === status.unauthenticated;

export const isDenied = (failure: CallFailure): boolean => failure.code === status.permissionDenied;

/** No host and this process take each other's certificates. */
export function toMistrust(hosts: readonly HostFailure[], prefix: string): Error {
  const list = hosts.map(({ host, reason }) => `${host} (${reason})`).join(', ');
  return new EtcdAuthError(prefix, `no TLS with ${list}`, 'the option credentials and the certificates of the servers must fit together');
}

/** What a refusal is called above the port. */
export function toRefusal({ code, details }: CallFailure, prefix: string): Error {
  if (/lease not found/.test(details)) return new LeaseNotFoundError(details);
  const isAuth =
    code === status.permissionDenied ||
    code === status.unauthenticated ||
    /authentication (failed|is not enabled)|user name (is empty|not found)/.test(details) ||
    isStaleToken(details);
  return isAuth ? new EtcdAuthError(prefix, details) : new EtcdRefusedError(details);
}
