/**
 * The few plain HTTP questions that the test support asks an etcd. `node:http` and a connection per
 * request: fetch() would keep sockets open, which the tests for leftovers would then find.
 */
import http from 'node:http';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Identity } from '../fixtures/certificates.ts';

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

export interface HttpQuestion {
  readonly post?: unknown;
  /** @default 1_000 */
  readonly timeoutMs?: number;
  /** Who asks, where the server wants to know; without a scheme the endpoint is asked by TLS then. Nobody checks the server. */
  readonly tls?: Partial<Identity> | undefined;
}

/** Asks `endpoint` ('host:port', or with a scheme) for `path`; rejects when nothing answers in time. */
export function ask(endpoint: string, path: string, question: HttpQuestion = {}): Promise<HttpAnswer> {
  const { post, timeoutMs = 1_000, tls } = question;
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

/** The version that the server itself reports, e.g. '3.5.30'. */
export async function serverVersion(endpoint: string): Promise<string> {
  const { status, body } = await ask(endpoint, '/version', { timeoutMs: 3_000 });
  const version = status === 200 ? (JSON.parse(body) as { etcdserver?: unknown }).etcdserver : undefined;
  if (typeof version !== 'string') {
    throw new Error(`${endpoint} does not answer as an etcd: GET /version gave ${String(status)}`);
  }
  return version;
}

/** A member is healthy when it can read through the quorum, so there is a leader too. */
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
  /** Throws when waiting has become pointless. */
  readonly stillWorthIt?: () => void;
  /** Whether the server that answers is the one that is meant. */
  readonly isTheOne?: () => Promise<boolean>;
  readonly tls?: Partial<Identity> | undefined;
}

export async function waitUntilHealthy(endpoint: string, options: HealthWait = {}): Promise<void> {
  const { timeoutMs = 30_000, stillWorthIt, isTheOne, tls } = options;
  const giveUpAt = performance.now() + timeoutMs;
  while (!(await isHealthy(endpoint, tls)) || (await isTheOne?.()) === false) {
    stillWorthIt?.();
    if (performance.now() > giveUpAt) {
      throw new Error(`etcd at ${endpoint} is not healthy after ${String(timeoutMs)} ms`);
    }
    await sleep(20);
  }
}

export interface MemberStatus {
  readonly memberId: string;
  /** '0' or absent while no leader is known. */
  readonly leaderId: string;
  readonly term: number;
}

export async function memberStatus(endpoint: string): Promise<MemberStatus> {
  const { status, body } = await ask(endpoint, '/v3/maintenance/status', { post: {} });
  if (status !== 200) throw new Error(`${endpoint} does not tell its status: ${String(status)} ${body}`);
  const answer = JSON.parse(body) as {
    header?: { member_id?: string };
    leader?: string;
    raftTerm?: string;
  };
  return {
    memberId: answer.header?.member_id ?? '',
    leaderId: answer.leader ?? '0',
    term: Number(answer.raftTerm ?? 0),
  };
}
