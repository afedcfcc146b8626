/**
 * The token of etcd's authentication, at one member.
 *
 * Our own and not etcd3's, which opens a channel for each token that it asks for, never closes it, gives it none of the channel's
 * options, and asks again without end where the token that it got is refused as well.
 */
export class Authentication {
  readonly #ask: () => Promise<string>;
  #asked: Promise<string> | undefined;

  /** @param ask has etcd make a token for name and password, on the channel that is used for all else too */
  constructor(ask: () => Promise<string>) {
    this.#ask = ask;
  }

  /** The same for all who ask, until it is forgotten. */
  async token(): Promise<string> {
    const asked = (this.#asked ??= this.#ask());
    try {
      return await asked;
    } catch (error) {
      if (this.#asked === asked) this.#asked = undefined;
      throw error;
    }
  }

  /** etcd does not know it any more: calls and streams to come get a new one. */
  forget(): void {
    this.#asked = undefined;
  }
}
