/** How to reach etcd, as `etcdctl` is told it: hosts, user and certificates from options, variables and files. */
import { readFileSync } from 'node:fs';
import type { Credentials, LockerOptions } from 'etcd-locker';
import type { OptionName } from './option-table.ts';
import { quoted, UsageError } from './usage-error.ts';
import type { Values } from './values.ts';

/** @throws {UsageError} what is given does not go together, or a file cannot be read */
export function lockerOptions(values: Values): LockerOptions {
  return {
    hosts: values
      .text('hosts')
      ?.split(',')
      .map((host) => host.trim())
      .filter((host) => host !== ''),
    prefix: values.text('prefix'),
    auth: auth(values),
    credentials: credentials(values),
    requestTimeoutMs: values.duration('request-timeout'),
    logger: values.has('verbose') ? stderrLogger : undefined,
  };
}

// A password has no option of its own: everybody on a machine can read the command lines of its processes.
function auth(values: Values): LockerOptions['auth'] {
  const file = values.text('password-file');
  const text = values.text('user');
  if (text === undefined) {
    if (file !== undefined) throw new UsageError('--password-file: expected --user or ETCDCTL_USER beside it');
    return undefined;
  }
  const isNamed = values.has('user');
  const [, username = '', password] = /^([^:]*)(?::([^]*))?$/.exec(text) ?? [];
  if (isNamed && password !== undefined) {
    throw new UsageError('--user: expected a name alone; a password is read from ETCDCTL_PASSWORD, ETCDCTL_USER or --password-file');
  }
  if (username === '') throw new UsageError(`${values.sourceOf('user')}: expected the name of a user`);
  const fromFile =
    file === undefined
      ? undefined
      : read(values, 'password-file')
          .toString()
          .replace(/\r?\n$/, '');
  const known = fromFile ?? password ?? values.variable('ETCDCTL_PASSWORD') ?? passwordOf(username, values.variable('ETCDCTL_USER'));
  if (known === undefined) {
    throw new UsageError(`${values.sourceOf('user')}: expected a password in ETCDCTL_PASSWORD or in a file named by --password-file`);
  }
  return { username, password: known };
}

const passwordOf = (username: string, user = ''): string | undefined =>
  user.startsWith(`${username}:`) ? user.slice(username.length + 1) : undefined;

function credentials(values: Values): Credentials | undefined {
  const [cacert, cert, key] = (['cacert', 'cert', 'key'] as const).map((name) => values.text(name));
  if (cacert === undefined) {
    if (cert === undefined && key === undefined) return undefined;
    throw new UsageError('--cacert: expected a file beside --cert and --key, or ETCDCTL_CACERT');
  }
  if (cert !== undefined && key === undefined) throw new UsageError('--key: expected a file beside --cert, or ETCDCTL_KEY');
  if (key !== undefined && cert === undefined) throw new UsageError('--cert: expected a file beside --key, or ETCDCTL_CERT');
  return {
    rootCertificate: read(values, 'cacert'),
    ...(cert === undefined ? {} : { certChain: read(values, 'cert'), privateKey: read(values, 'key') }),
  };
}

function read(values: Values, name: OptionName): Buffer {
  const file = values.text(name) ?? '';
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(`${values.sourceOf(name)}: expected a file that can be read, got ${quoted(file)} (${String(code)})`);
  }
}

// Not console: its info() and debug() go to stdout, which is the command's.
const tell = (...parts: readonly unknown[]): void => {
  process.stderr.write(`${parts.map(String).join(' ')}\n`);
};
const stderrLogger = { debug: tell, info: tell, warn: tell, error: tell };
