/**
 * The token of etcd's authentication, at one member.
 *
 * etcd3's own authentication is not used. It opens a channel for each token, never closes it, and gives it none of the channel
 * options. It also asks without end if etcd refuses each new token.
 *
 * A user may be given before authentication is enabled in etcd, so that all processes of a fleet have their passwords first. Then
 * calls carry no token until etcd refuses one for lack of it.
 */
import { type CallFailure, isDenied, toFailure } from './call-failure.ts';
import { Loader } from './loader.ts';

export class Authentication {
  readonly #token: Loader<string | undefined>;
  readonly #enabled: () => void;
  #isAnonymous = false;

  /**
   * @param request requests a token for the user, on the channel that all other calls use
   * @param enabled called for the first token after calls without one
   */
  constructor(request: () => Promise<string>, enabled: () => void) {
    this.#token = new Loader(() => this.#request(request));
    this.#enabled = enabled;
  }

  /** Resolves with one token for all callers, until it is forgotten. Undefined if authentication is not enabled in etcd. */
  token(): Promise<string | undefined> {
    return this.#token.load();
  }

  /** Reports whether the call may succeed with a new token. etcd applied nothing. */
  isTokenMissing(failure: CallFailure): boolean {
    // Without a token, etcd may take the common name of the client certificate for the user.
    return failure.kind === 'stale-token' || (this.#isAnonymous && isDenied(failure));
  }

  /** Forgets a token that etcd refused. Later calls and streams get a new one. */
  forget(): void {
    this.#token.forget();
  }

  async #request(request: () => Promise<string>): Promise<string | undefined> {
    try {
      const token = await request();
      if (this.#isAnonymous) this.#enabled();
      this.#isAnonymous = false;
      return token;
    } catch (error) {
      if (!/authentication is not enabled/.test(toFailure(error).details)) throw error;
      this.#isAnonymous = true;
      return undefined;
    }
  }
}
