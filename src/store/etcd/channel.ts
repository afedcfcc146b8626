/**
 * A channel to a host, as etcd3 opened it, and the calls on it.
 *
 * Every failure to start a call is a `CallFailure` of a call that was never sent.
 */
import type { Client, Metadata } from '@grpc/grpc-js';
import { CallFailure, noResponse, status, toFailure } from './call-failure.ts';
import type { Connection } from './connection.ts';

export interface Channel {
  readonly client: Client;
  /** Has the token of the user, if there is one. */
  readonly metadata: Metadata;
  readonly connection: Connection;
}

export type Call = ReturnType<ReturnType<Client['getChannel']>['createCall']>;

/** Creates a unary call. grpc-js may send a call before it checks the deadline, so the deadline is checked here. */
export function createCall({ client }: Channel, method: string, until: number): Call {
  const timeoutMs = until - performance.now();
  if (timeoutMs <= 0) throw new CallFailure(status.deadlineExceeded, 'Deadline exceeded before call started');
  return unlessClosed(() => client.getChannel().createCall(method, Date.now() + timeoutMs, null, null, null));
}

/** Runs `start`, which throws if the channel is closed. */
export function unlessClosed<T>(start: () => T): T {
  try {
    return start();
  } catch (error) {
    throw new CallFailure(status.unavailable, 'Channel closed before call started', error);
  }
}

/** Rejects if `task` takes longer. Opening a channel has no deadline of its own. */
export function before<T>(until: number, task: Promise<T>): Promise<T> {
  const timeoutMs = Math.max(0, until - performance.now());
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(noResponse(timeoutMs));
    }, timeoutMs).unref();
    task
      .then(resolve, (error: unknown) => {
        reject(toFailure(error));
      })
      .finally(() => {
        clearTimeout(timer);
      });
  });
}
