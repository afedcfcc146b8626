/** Builds the options for the connection to etcd: hosts, user and certificates, from the same variables as `etcdctl`. */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import type { Credentials, LockerOptions } from 'etcd-locker';
import { onOneLine } from '../text.ts';
import type { OptionName } from './option-table.ts';
import { quoteShort, UsageError } from './usage-error.ts';
import type { Values } from './values.ts';

/** @throws {UsageError} an option is missing or invalid, or a file cannot be read */
export function buildLockerOptions(values: Values): LockerOptions {
  return {
    hosts: values
      .text('hosts')
      ?.split(',')
      .map((host) => host.trim())
      .filter((host) => host !== ''),
    prefix: values.text('prefix'),
    auth: readAuth(values),
    credentials: readCredentials(values),
    requestTimeoutMs: values.duration('request-timeout'),
    logger: values.has('verbose') ? stderrLogger : undefined,
  };
}

// No option takes a password: every user of a machine can read the command lines of its processes.
function readAuth(values: Values): LockerOptions['auth'] {
  const file = values.text('password-file');
  const text = values.text('user');
  if (text === undefined) {
    if (file !== undefined) throw new UsageError('--password-file: expected --user or ETCDCTL_USER beside it');
    return undefined;
  }
  const isOption = values.has('user');
  const [, username = '', password] = /^([^:]*)(?::([^]*))?$/.exec(text) ?? [];
  if (isOption && password !== undefined) {
    throw new UsageError('--user: expected a user name without a password; pass it in ETCDCTL_PASSWORD, ETCDCTL_USER or --password-file');
  }
  if (username === '') throw new UsageError(`${values.sourceOf('user')}: expected the name of a user`);
  const fromFile = file === undefined ? undefined : readPassword(values);
  const found = fromFile ?? password ?? values.variable('ETCDCTL_PASSWORD') ?? passwordOf(username, values.variable('ETCDCTL_USER'));
  if (found === undefined) {
    throw new UsageError(`${values.sourceOf('user')}: expected a password in ETCDCTL_PASSWORD or in the file of --password-file`);
  }
  return { username, password: found };
}

/** The password in ETCDCTL_USER counts only for the user that is named there. */
const passwordOf = (username: string, user = ''): string | undefined =>
  user.startsWith(`${username}:`) ? user.slice(username.length + 1) : undefined;

function readCredentials(values: Values): Credentials | undefined {
  const [cacert, cert, key] = (['cacert', 'cert', 'key'] as const).map((name) => values.text(name));
  if (cacert === undefined) {
    if (cert === undefined && key === undefined) return undefined;
    throw new UsageError('--cacert: expected a file beside --cert and --key, or ETCDCTL_CACERT');
  }
  if (cert !== undefined && key === undefined) throw new UsageError('--key: expected a file beside --cert, or ETCDCTL_KEY');
  if (key !== undefined && cert === undefined) throw new UsageError('--cert: expected a file beside --key, or ETCDCTL_CERT');
  return {
    rootCertificate: readOptionFile(values, 'cacert'),
    ...(cert === undefined ? {} : { certChain: readOptionFile(values, 'cert'), privateKey: readOptionFile(values, 'key') }),
  };
}

function readPassword(values: Values): string {
  const bytes = readOptionFile(values, 'password-file');
  if (!isUtf8(bytes)) throw new UsageError('--password-file: expected a file in UTF-8, got other bytes');
  return bytes.toString().replace(/\r?\n$/, '');
}

function readOptionFile(values: Values, name: OptionName): Buffer {
  const file = values.text(name) ?? '';
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(`${values.sourceOf(name)}: expected a readable file, got ${quoteShort(file)} (${String(code)})`);
  }
}

// Not console: its info() and debug() write to stdout, which belongs to COMMAND.
const log = (...parts: readonly unknown[]): void => {
  process.stderr.write(`${onOneLine(parts.map(String).join(' '))}\n`);
};
const stderrLogger = { debug: log, info: log, warn: log, error: log };
