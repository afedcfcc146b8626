/** Parses the command line. A UsageError names the option or argument that is wrong and the expected value. */
import { parseArgs } from 'node:util';
import type { LockerOptions, LockOptions, MinimumHoldOptions, ModeOptions, SlotsOptions } from 'etcd-locker';
import { type CommandKind, groupsOf, isOptionName, type OptionName, optionNames, optionTable } from './option-table.ts';
import { buildLockerOptions } from './connection.ts';
import { Values } from './values.ts';
import { quoteShort, UsageError } from './usage-error.ts';

export interface RunCommand {
  readonly kind: 'run';
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly locker: LockerOptions;
  readonly lock: LockOptions;
  /** With true the command does not wait for the lock. */
  readonly isTry: boolean;
  /** After this time the command is stopped. */
  readonly maxHoldMs: number | undefined;
  readonly graceMs: number;
  /** Whether to say what the command waits for. */
  readonly isVerbose: boolean;
}

export interface ShowCommand {
  readonly kind: 'inspect' | 'list' | 'watch';
  /** The name of the lock. For `list` the prefix of the names. Undefined for all names. */
  readonly name: string | undefined;
  readonly json: boolean;
  /** With true nothing is printed, and the status says whether the lock is held. */
  readonly isCheck: boolean;
  readonly locker: LockerOptions;
}

export interface BreakCommand {
  readonly kind: 'break';
  readonly name: string;
  /** Undefined for all holders. */
  readonly token: bigint | undefined;
  /** With true the command does not ask. */
  readonly isSure: boolean;
  readonly json: boolean;
  readonly locker: LockerOptions;
}

export interface HelpCommand {
  readonly kind: 'help';
  /** Undefined for the help of the whole command. */
  readonly topic: Topic | undefined;
}

export type Command = { readonly kind: 'version' } | HelpCommand | RunCommand | ShowCommand | BreakCommand;

type Topic = ShowCommand['kind'] | BreakCommand['kind'];

/** The parts of its input that are not UTF-8, so that Node has changed them. */
export interface Changed {
  /** The positions of arguments, from 0. */
  readonly arguments: readonly number[];
  /** The names of variables. */
  readonly variables: ReadonlySet<string>;
}

const nothing: Changed = { arguments: [], variables: new Set() };

/** @throws {UsageError} the command line is invalid */
export function parseCommand(argv: readonly string[], env: NodeJS.ProcessEnv, changed = nothing): Command {
  const [position] = changed.arguments;
  if (position !== undefined) {
    const text = quoteShort(argv[position] ?? '');
    throw new UsageError(`Argument ${String(position + 1)}: expected UTF-8, got other bytes in ${text}`);
  }
  // Everything after the first -- belongs to COMMAND, options included.
  const end = argv.indexOf('--');
  const own = end < 0 ? argv : argv.slice(0, end);
  const command = end < 0 ? undefined : argv.slice(end + 1);
  const { given, positionals } = parseTokens(own);
  const [word, ...rest] = positionals;
  if (given.has('help')) return { kind: 'help', topic: command === undefined && isTopic(word) ? word : undefined };
  if (given.has('version')) return { kind: 'version' };

  if (command !== undefined) {
    if (rest.length > 0) throw new UsageError(`NAME: expected one name before --, got ${String(positionals.length)} words`);
    return parseRunCommand(word, command, new Values(given, env, changed.variables));
  }
  if (!isTopic(word)) {
    throw new UsageError(
      word === undefined ? 'NAME: expected a name, then -- and a command' : `${quoteShort(word)}: expected -- and a command after NAME`,
    );
  }
  const values = new Values(given, env, changed.variables);
  return word === 'break' ? parseBreakCommand(rest, values) : parseShowCommand(word, rest, values);
}

const topics: readonly (string | undefined)[] = ['inspect', 'list', 'watch', 'break'] satisfies Topic[];
const isTopic = (word: string | undefined): word is Topic => topics.includes(word);

function parseRunCommand(name: string | undefined, [file, ...args]: readonly string[], values: Values): RunCommand {
  if (name === undefined) throw new UsageError('NAME: expected the name of a lock before --');
  if (file === undefined || file === '') throw new UsageError('COMMAND: expected a command after --');
  rejectOtherOptions('run', values);
  values.rejectChangedVariables(); // COMMAND gets them all
  values.rejectBoth('try', 'timeout');
  values.rejectBoth('shared', 'slots');
  values.rejectBoth('min-hold', 'shared');
  values.rejectBoth('min-hold', 'slots');
  const ttlMs = values.duration('ttl');
  const maxHoldMs = values.duration('max-hold');
  if (maxHoldMs === 0) throw new UsageError('--max-hold: expected more than 0');
  return {
    kind: 'run',
    name,
    file,
    args,
    locker: buildLockerOptions(values),
    lock: {
      ttlMs,
      timeoutMs: values.duration('timeout'),
      ...kindOf(values),
      value: values.text('value'),
    },
    isTry: values.has('try'),
    maxHoldMs,
    graceMs: values.duration('grace') ?? defaultGraceMs(ttlMs),
    isVerbose: values.has('verbose'),
  };
}

function kindOf(values: Values): ModeOptions | SlotsOptions | MinimumHoldOptions {
  if (values.has('shared')) return { mode: 'shared' };
  return values.has('slots') ? { slots: values.count('slots') } : { minHoldMs: values.duration('min-hold') };
}

/**
 * A lock counts as lost max(500 ms, TTL/10) before another process can get it. The command has half of this margin to end after
 * SIGTERM. The other half is for SIGKILL.
 */
const defaultGraceMs = (ttlMs = 15_000): number => Math.max(250, (Math.ceil(ttlMs / 1_000) * 1_000) / 20);

function parseShowCommand(kind: ShowCommand['kind'], words: readonly string[], values: Values): ShowCommand {
  const name = kind !== 'inspect' && words.length === 0 ? undefined : parseName(kind, words);
  rejectOtherOptions(kind, values);
  values.rejectBoth('check', 'json');
  return { kind, name, json: values.has('json'), isCheck: values.has('check'), locker: buildLockerOptions(values) };
}

function parseBreakCommand(words: readonly string[], values: Values): BreakCommand {
  const name = parseName('break', words);
  rejectOtherOptions('break', values);
  const [token, isSure, json] = [values.token('token'), values.has('yes'), values.has('json')];
  return { kind: 'break', name, token, isSure, json, locker: buildLockerOptions(values) };
}

function parseName(kind: Topic, [name, ...more]: readonly string[]): string {
  if (name === undefined) throw new UsageError(`NAME: expected the name of a lock after ${kind}`);
  if (more.length > 0) throw new UsageError(`NAME: expected one name after ${kind}, got ${String(more.length + 1)}`);
  return name;
}

function rejectOtherOptions(kind: CommandKind, values: Values): void {
  const other = optionNames.find((name) => values.has(name) && !groupsOf[kind].includes(optionTable[name].group));
  if (other === undefined) return;
  const form = kind === 'run' ? 'NAME -- COMMAND' : kind;
  throw new UsageError(`--${other}: cannot be used with \`${form}\``);
}

interface Tokens {
  readonly given: Map<OptionName, string | true>;
  readonly positionals: readonly string[];
}

// Not in parseArgs' strict mode: its errors suggest a -- before the wrong word, which starts COMMAND here.
function parseTokens(args: readonly string[]): Tokens {
  const options = Object.fromEntries(
    optionNames.map((name) => {
      const { placeholder, short } = optionTable[name];
      const type = placeholder === undefined ? ('boolean' as const) : ('string' as const);
      return [name, { type, ...(short === undefined ? {} : { short }) }];
    }),
  );
  const { tokens } = parseArgs({ args: [...args], options, allowPositionals: true, strict: false, tokens: true });
  const given: Tokens['given'] = new Map();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const { name, rawName, value, inlineValue } = token;
    if (!isOptionName(name)) throw new UsageError(`${rawName}: unknown option`);
    const { placeholder } = optionTable[name];
    if (placeholder === undefined) {
      if (inlineValue) throw new UsageError(`${rawName}: expected no value`);
      given.set(name, true);
    } else if (value === undefined || (!inlineValue && value.startsWith('-'))) {
      // A word that starts with - may be the next option after a forgotten value.
      throw new UsageError(`${rawName}: expected ${placeholder} after it; if the value starts with -, write ${rawName}=${placeholder}`);
    } else {
      const before = name === 'hosts' ? given.get(name) : undefined;
      given.set(name, typeof before === 'string' ? `${before},${value}` : value);
    }
  }
  return { given, positionals };
}
