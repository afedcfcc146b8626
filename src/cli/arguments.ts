/** The command line: what is asked for, or a UsageError that names the option and what was expected there. */
import { parseArgs } from 'node:util';
import type { LockerOptions, LockOptions } from 'etcd-locker';
import { type CommandKind, groupsOf, isOptionName, type OptionName, optionNames, optionTable } from './option-table.ts';
import { lockerOptions } from './connection.ts';
import { Values } from './values.ts';
import { quoted, UsageError } from './usage-error.ts';

export interface RunCommand {
  readonly kind: 'run';
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly locker: LockerOptions;
  readonly lock: LockOptions;
  /** With true it does not wait. */
  readonly tries: boolean;
  readonly graceMs: number;
}

export interface ShowCommand {
  readonly kind: 'inspect' | 'list' | 'watch';
  /** For `list`, what the names begin with. */
  readonly name: string;
  readonly json: boolean;
  readonly locker: LockerOptions;
}

export interface HelpCommand {
  readonly kind: 'help';
  /** Of the whole where there is none. */
  readonly of: ShowCommand['kind'] | undefined;
}

export type Command = { readonly kind: 'version' } | HelpCommand | RunCommand | ShowCommand;

/** @throws {UsageError} it is none that there is */
export function parseCommand(argv: readonly string[], env: NodeJS.ProcessEnv): Command {
  // What comes after the first -- is the command's, options included.
  const end = argv.indexOf('--');
  const own = end < 0 ? argv : argv.slice(0, end);
  const command = end < 0 ? undefined : argv.slice(end + 1);
  const { given, positionals } = tokensOf(own);
  const [word, ...rest] = positionals;
  if (given.has('help')) return { kind: 'help', of: command === undefined && isShowing(word) ? word : undefined };
  if (given.has('version')) return { kind: 'version' };

  if (command !== undefined) {
    if (rest.length > 0) throw new UsageError(`NAME: expected one name before --, got ${String(positionals.length)} words`);
    return runCommand(word, command, new Values(given, env));
  }
  if (!isShowing(word)) {
    throw new UsageError(
      word === undefined ? 'NAME: expected a name, then -- and a command' : `${quoted(word)}: expected -- and a command after NAME`,
    );
  }
  return showCommand(word, rest, new Values(given, env));
}

const isShowing = (word: string | undefined): word is ShowCommand['kind'] => word === 'inspect' || word === 'list' || word === 'watch';

function runCommand(name: string | undefined, [file, ...args]: readonly string[], values: Values): RunCommand {
  if (name === undefined) throw new UsageError('NAME: expected the name of a lock before --');
  if (file === undefined || file === '') throw new UsageError('COMMAND: expected a command after --');
  refuseOthers('run', values);
  values.refuseBoth('try', 'timeout');
  values.refuseBoth('shared', 'slots');
  const ttlMs = values.duration('ttl');
  return {
    kind: 'run',
    name,
    file,
    args,
    locker: lockerOptions(values),
    lock: {
      ttlMs,
      timeoutMs: values.duration('timeout'),
      mode: values.has('shared') ? 'shared' : undefined,
      slots: values.count('slots'),
      value: values.text('value'),
    },
    tries: values.has('try'),
    graceMs: values.duration('grace') ?? defaultGraceMs(ttlMs),
  };
}

/**
 * A lock counts as lost max(500 ms, TTL/10) before another may have it. Half of that for the command to end by itself leaves the other
 * half for the killing.
 */
const defaultGraceMs = (ttlMs = 15_000): number => Math.max(250, (Math.ceil(ttlMs / 1_000) * 1_000) / 20);

function showCommand(kind: ShowCommand['kind'], words: readonly string[], values: Values): ShowCommand {
  const [name, ...more] = words;
  if (name === undefined && kind !== 'list') throw new UsageError(`NAME: expected the name of a lock after ${kind}`);
  if (more.length > 0) throw new UsageError(`NAME: expected one name after ${kind}, got ${String(words.length)}`);
  refuseOthers(kind, values);
  return { kind, name: name ?? '', json: values.has('json'), locker: lockerOptions(values) };
}

function refuseOthers(kind: CommandKind, values: Values): void {
  const other = optionNames.find((name) => values.has(name) && !groupsOf[kind].includes(optionTable[name].group));
  if (other === undefined) return;
  const what = kind === 'run' ? 'NAME -- COMMAND' : kind;
  throw new UsageError(`--${other}: expected only options of \`${what}\``);
}

interface Tokens {
  readonly given: Map<OptionName, string | true>;
  readonly positionals: readonly string[];
}

// Not in parseArgs' strict mode: its errors tell to write -- before what is wrong, which means something else here.
function tokensOf(args: readonly string[]): Tokens {
  const options = Object.fromEntries(
    optionNames.map((name) => {
      const { value, short } = optionTable[name];
      return [name, { type: value === undefined ? ('boolean' as const) : ('string' as const), ...(short === undefined ? {} : { short }) }];
    }),
  );
  const { tokens } = parseArgs({ args: [...args], options, allowPositionals: true, strict: false, tokens: true });
  const given: Tokens['given'] = new Map();
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value);
    if (token.kind !== 'option') continue;
    const { name, rawName, value, inlineValue } = token;
    if (!isOptionName(name)) throw new UsageError(`${rawName}: expected an option that --help lists`);
    const called = optionTable[name].value;
    if (called === undefined) {
      if (inlineValue) throw new UsageError(`${rawName}: expected no value, as it is a switch`);
      given.set(name, true);
    } else if (value === undefined || (!inlineValue && value.startsWith('-'))) {
      // It may be the next option, its own value forgotten.
      throw new UsageError(`${rawName}: expected ${called} after it; one that begins with - is written ${rawName}=${called}`);
    } else {
      const before = name === 'hosts' ? given.get(name) : undefined;
      given.set(name, typeof before === 'string' ? `${before},${value}` : value);
    }
  }
  return { given, positionals };
}
