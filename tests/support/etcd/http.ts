/**
 * Plain HTTP requests of the test support to etcd.
 *
 * `node:http` opens one connection per request. fetch() would keep sockets open, which the check for leaks reports.
 */
import http from 'node:http';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Identity } from '../fixtures/certificates.ts';

export interface HttpResponse {
  readonly status: number;
  readonly body: string;
}

export interface HttpOptions {
  readonly post?: unknown;
  /** @default 1_000 */
  readonly timeoutMs?: number;
  /** The client certificate. An endpoint without a scheme is then requested by TLS. The certificate of the server is not checked. */
  readonly tls?: Partial<Identity> | undefined;
}

/** Requests `path` from `endpoint` ('host:port', or with a scheme). Rejects without a response in time. */
export function ask(endpoint: string, path: string, options: HttpOptions = {}): Promise<HttpResponse> {
  const { post, timeoutMs = 1_000, tls } = options;
  const url = new URL(path, endpoint.includes('://') ? endpoint : `${tls === undefined ? 'http' : 'https'}://${endpoint}`);
  const { request } = url.protocol === 'https:' ? https : http;
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      {
        method: post === undefined ? 'GET' : 'POST',
        agent: false,
        signal: AbortSignal.timeout(timeoutMs),
        ...(tls === undefined ? {} : { cert: tls.certificate, key: tls.privateKey, rejectUnauthorized: false }),
      },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (body += chunk));
        response.on('end', () => {
          resolve({ status: response.statusCode ?? 0, body });
        });
        response.on('error', reject);
      },
    );
    outgoing.on('error', reject);
    outgoing.end(post === undefined ? undefined : JSON.stringify(post));
  });
}

/** Returns the version that a server reports, for example '3.5.30'. */
export async function serverVersion(endpoint: string): Promise<string> {
  const { status, body } = await ask(endpoint, '/version', { timeoutMs: 3_000 });
  const version = status === 200 ? (JSON.parse(body) as { etcdserver?: unknown }).etcdserver : undefined;
  if (typeof version !== 'string') {
    throw new Error(`${endpoint} is not an etcd: GET /version responded with ${String(status)}`);
  }
  return version;
}

/** Returns whether a member can read through the quorum, which also needs a leader. */
export async function isHealthy(endpoint: string, tls?: Partial<Identity>): Promise<boolean> {
  try {
    return (await ask(endpoint, '/health', { tls })).status === 200;
  } catch {
    return false;
  }
}

export interface HealthWait {
  /** @default 30_000 */
  readonly timeoutMs?: number;
  /** Throws if the server can no longer become healthy. */
  readonly assertRunning?: () => void;
  /** Whether the expected server responds, and not another one on its port. */
  readonly isExpectedServer?: () => Promise<boolean>;
  readonly tls?: Partial<Identity> | undefined;
}

/** Polls until the server is healthy. */
export async function waitUntilHealthy(endpoint: string, options: HealthWait = {}): Promise<void> {
  const { timeoutMs = 30_000, assertRunning, isExpectedServer, tls } = options;
  const deadlineAt = performance.now() + timeoutMs;
  while (!(await isHealthy(endpoint, tls)) || (await isExpectedServer?.()) === false) {
    assertRunning?.();
    if (performance.now() > deadlineAt) {
      throw new Error(`etcd at ${endpoint} is not healthy after ${String(timeoutMs)} ms`);
    }
    await sleep(20);
  }
}

export interface MemberStatus {
  readonly memberId: string;
  /** '0' while the member knows no leader. */
  readonly leaderId: string;
  readonly term: number;
}

/** Returns the id, the leader and the term of a member. */
export async function memberStatus(endpoint: string): Promise<MemberStatus> {
  const { status, body } = await ask(endpoint, '/v3/maintenance/status', { post: {} });
  if (status !== 200) throw new Error(`${endpoint} does not return its status: ${String(status)} ${body}`);
  const response = JSON.parse(body) as {
    header?: { member_id?: string };
    leader?: string;
    raftTerm?: string;
  };
  return {
    memberId: response.header?.member_id ?? '',
    leaderId: response.leader ?? '0',
    term: Number(response.raftTerm ?? 0),
  };
}
