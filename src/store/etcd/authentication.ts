/**
 * The token of etcd's authentication, at one member.
 *
 * Our own and not etcd3's, which opens a channel for each token that it asks for, never closes it, gives it none of the channel's
 * options, and asks again without end where the token that it got is refused as well.
 */
import type { InterceptingCall, Interceptor } from '@grpc/grpc-js';
import { isStaleToken, outdatedToken, toFailure } from './failures.ts';

/** What is needed of grpc-js, which is loaded late. */
interface Grpc {
  readonly InterceptingCall: typeof InterceptingCall;
}

export class Authentication {
  readonly #grpc: Grpc;
  readonly #ask: () => Promise<string>;
  #token: Promise<string> | undefined;

  /** @param ask has etcd make a token for name and password, on the channel that is used for all else too */
  constructor(grpc: Grpc, ask: () => Promise<string>) {
    this.#grpc = grpc;
    this.#ask = ask;
  }

  /** Runs `task`, and once more where its token turns out to be outdated: that is refused before anything is applied. */
  async run<T>(task: (withToken: Interceptor) => Promise<T>): Promise<T> {
    try {
      return await task(await this.interceptor());
    } catch (error) {
      if (toFailure(error).kind !== 'stale-token') throw error;
      return task(await this.interceptor());
    }
  }

  /** Adds the token to a call, and forgets it where etcd knows it no more: calls and streams to come get a new one. */
  async interceptor(): Promise<Interceptor> {
    const used = (this.#token ??= this.#ask());
    const token = await used.catch((error: unknown) => {
      this.#forget(used);
      throw error;
    });
    return (options, next) =>
      new this.#grpc.InterceptingCall(next(options), {
        start: (metadata, _listener, start) => {
          metadata.set('token', token);
          start(metadata, {
            onReceiveStatus: (status, tell) => {
              if (!isStaleToken(status.details)) {
                tell(status);
                return;
              }
              this.#forget(used);
              // In words that etcd3 does not know: at its own it would send the same once more, with the same token, for ever.
              tell({ ...status, details: outdatedToken });
            },
          });
        },
      });
  }

  /** Unless somebody else has got a newer one already. */
  #forget(used: Promise<string>): void {
    if (this.#token === used) this.#token = undefined;
  }
}
