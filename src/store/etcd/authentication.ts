/**
 * The token of etcd's authentication, at one member.
 *
 * etcd3's own authentication is not used. It opens a channel for each token, never closes it, and gives it none of the channel
 * options. It also asks without end if etcd refuses each new token.
 */
import { Loader } from './loader.ts';

export class Authentication {
  readonly #token: Loader<string>;

  /** @param request requests a token for the user, on the channel that all other calls use */
  constructor(request: () => Promise<string>) {
    this.#token = new Loader(request);
  }

  /** Resolves with one token for all callers, until it is forgotten. */
  token(): Promise<string> {
    return this.#token.load();
  }

  /** Forgets a token that etcd refused. Later calls and streams get a new one. */
  forget(): void {
    this.#token.forget();
  }
}
