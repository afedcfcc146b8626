/** Reads the values of options from the command line, or from the environment if an option is not given. */
import { parseDuration } from './duration.ts';
import { type OptionName, optionTable } from './option-table.ts';
import { quoteShort, UsageError } from './usage-error.ts';

/** The longest delay of a timer in Node. */
const maxTimerMs = 2_147_483_647;

export class Values {
  readonly #given: ReadonlyMap<OptionName, string | true>;
  readonly #env: NodeJS.ProcessEnv;
  readonly #changed: ReadonlySet<string>;

  /** `changed` has the names of the variables in `env` that are not UTF-8. */
  constructor(given: ReadonlyMap<OptionName, string | true>, env: NodeJS.ProcessEnv, changed: ReadonlySet<string>) {
    this.#given = given;
    this.#env = env;
    this.#changed = changed;
  }

  /** Returns whether the option is on the command line. */
  has(name: OptionName): boolean {
    return this.#given.has(name);
  }

  text(name: OptionName): string | undefined {
    const given = this.#given.get(name);
    if (typeof given === 'string') return given;
    const { env } = optionTable[name];
    return env === undefined ? undefined : this.variable(env);
  }

  /**
   * Treats an empty variable as unset: a shell script clears a variable in this way.
   *
   * @throws {UsageError} the variable is not UTF-8
   */
  variable(name: string): string | undefined {
    if (this.#changed.has(name)) throw notUtf8Variable(name);
    const value = this.#env[name];
    return value === '' ? undefined : value;
  }

  /** Returns the name of the option or variable that holds the value, for messages. */
  sourceOf(name: OptionName): string {
    const { env } = optionTable[name];
    return this.has(name) || env === undefined ? `--${name}` : env;
  }

  /** @throws {UsageError} the value is no duration */
  duration(name: OptionName): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const ms = parseDuration(text);
    if (ms === undefined || ms > maxTimerMs)
      throw new UsageError(`--${name}: expected a duration such as 30s, 500ms or 1m30s, got ${quoteShort(text)}`);
    return ms;
  }

  /** @throws {UsageError} the value is no whole number from 1 */
  count(name: OptionName): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (!/^[1-9]\d{0,14}$/.test(text)) throw new UsageError(`--${name}: expected a whole number from 1, got ${quoteShort(text)}`);
    return Number(text);
  }

  /** @throws {UsageError} the value is no fencing token */
  token(name: OptionName): bigint | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    if (!/^[1-9]\d{0,18}$/.test(text)) throw new UsageError(`--${name}: expected a fencing token such as 4711, got ${quoteShort(text)}`);
    return BigInt(text);
  }

  /** @throws {UsageError} any variable is not UTF-8 */
  rejectChangedVariables(): void {
    for (const name of this.#changed) throw notUtf8Variable(name);
  }

  /** @throws {UsageError} both options are given */
  rejectBoth(one: OptionName, other: OptionName): void {
    if (this.has(one) && this.has(other)) throw new UsageError(`--${one}: cannot be used with --${other}`);
  }
}

const notUtf8Variable = (name: string): UsageError =>
  new UsageError(`The variable ${quoteShort(name)}: expected UTF-8, got other bytes; unset it or change its value`);
