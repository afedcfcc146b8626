/** The values of the options, from the command line or, where it has none, from the environment. */
import { parseDuration } from './duration.ts';
import { type OptionName, optionTable } from './option-table.ts';
import { quoted, UsageError } from './usage-error.ts';

/** The delay that Node's timers still take. */
const longestMs = 2_147_483_647;

export class Values {
  readonly #given: ReadonlyMap<OptionName, string | true>;
  readonly #env: NodeJS.ProcessEnv;

  constructor(given: ReadonlyMap<OptionName, string | true>, env: NodeJS.ProcessEnv) {
    this.#given = given;
    this.#env = env;
  }

  /** Whether it is on the command line. */
  has(name: OptionName): boolean {
    return this.#given.has(name);
  }

  text(name: OptionName): string | undefined {
    const given = this.#given.get(name);
    if (typeof given === 'string') return given;
    const { env } = optionTable[name];
    return env === undefined ? undefined : this.variable(env);
  }

  /** What an empty variable says is nothing, as in a shell script that clears it. */
  variable(name: string): string | undefined {
    const value = this.#env[name];
    return value === '' ? undefined : value;
  }

  /** For messages: where the value comes from. */
  sourceOf(name: OptionName): string {
    const { env } = optionTable[name];
    return this.has(name) || env === undefined ? `--${name}` : env;
  }

  /** @throws {UsageError} it has no unit, or is none */
  duration(name: OptionName): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const ms = parseDuration(text);
    if (ms === undefined || ms > longestMs)
      throw new UsageError(`--${name}: expected a duration such as 30s, 500ms or 1m30s, got ${quoted(text)}`);
    return ms;
  }

  /** @throws {UsageError} it is no number */
  count(name: OptionName): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (!/^[1-9]\d{0,14}$/.test(text)) throw new UsageError(`--${name}: expected a whole number from 1, got ${quoted(text)}`);
    return Number(text);
  }

  /** @throws {UsageError} both are given */
  refuseBoth(one: OptionName, other: OptionName): void {
    if (this.has(one) && this.has(other)) throw new UsageError(`--${one}: expected without --${other}, which says otherwise`);
  }
}
