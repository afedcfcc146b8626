/** Maps an error to an exit status of sysexits.h and to one line on stderr. */
import { InvalidOptionsError, isLockerError } from 'etcd-locker';
import { onOneLine } from '../text.ts';
import { OutputError } from './output.ts';
import { UsageError } from './usage-error.ts';

export const exitStatus = {
  usage: 64,
  unavailable: 69,
  software: 70,
  output: 74,
  tempFail: 75,
  noPermission: 77,
  cannotRun: 126,
  notFound: 127,
} as const;

/** How a process ends: with a status or by a signal. */
export type Ending = { readonly status: number } | { readonly signal: NodeJS.Signals };

/** Writes the message to stderr as one line. */
export function printError(message: string): void {
  process.stderr.write(`etcd-locker: ${onOneLine(message)}\n`);
}

/** Prints the error and returns how the process has to end. */
export function reportError(error: unknown): Ending {
  // Like a program that does not handle SIGPIPE.
  if (error instanceof OutputError && error.code === 'EPIPE') return { signal: 'SIGPIPE' };
  const [status, message] = describeError(error);
  printError(message);
  return { status };
}

function describeError(error: unknown): [status: number, message: string] {
  if (error instanceof UsageError) return [exitStatus.usage, `${error.message} (see etcd-locker --help)`];
  if (error instanceof InvalidOptionsError) return [exitStatus.usage, `${describeIssues(error)} (see etcd-locker --help)`];
  if (error instanceof OutputError) return [exitStatus.output, error.message];
  if (!isLockerError(error)) return [exitStatus.software, error instanceof Error ? (error.stack ?? error.message) : String(error)];
  switch (error.code) {
    case 'LOCK_TIMEOUT':
    case 'LOCK_LOST':
      return [exitStatus.tempFail, error.message];
    case 'ETCD_UNAVAILABLE':
    case 'ETCD_REFUSED':
    case 'CLIENT_LOAD':
      return [exitStatus.unavailable, nameOptions(error.message)];
    case 'ETCD_AUTH':
      return [exitStatus.noPermission, nameOptions(error.message)];
    case 'INVALID_OPTIONS':
    case 'LOCKER_CLOSED':
    case 'LOCK_RELEASED':
      return [exitStatus.software, error.stack ?? error.message];
  }
}

/** The option of the command for each option that the library's messages name. */
const commandOption: Readonly<Record<string, string>> = {
  name: 'NAME',
  startsWith: 'NAME_PREFIX',
  hosts: '--hosts or ETCDCTL_ENDPOINTS',
  prefix: '--prefix',
  value: '--value',
  ttlMs: '--ttl',
  timeoutMs: '--timeout',
  slots: '--slots',
  fencingToken: '--token',
  requestTimeoutMs: '--request-timeout',
  auth: '--user',
  credentials: '--cacert',
};

function describeIssues({ issues }: InvalidOptionsError): string {
  return issues
    .map(({ path, message }) => {
      // The command takes no passphrase.
      if (path === 'credentials.passphrase') return '--key: expected a private key that is not encrypted';
      return `${commandOption[path.split(/[.[]/, 1)[0] ?? ''] ?? path}: ${message}`;
    })
    .join('; ');
}

const credentialOption: Readonly<Record<string, string>> = { rootCertificate: '--cacert', certChain: '--cert', privateKey: '--key' };

/** Replaces the library's names of options for TLS by those of the command. */
function nameOptions(message: string): string {
  return message
    .replaceAll(/\bcredentials\.(\w+)/g, (path, name: string) => credentialOption[name] ?? path)
    .replaceAll(/\b(set|the option) credentials\b/g, '$1 --cacert')
    .replaceAll(/\b(set|the option) auth\b/g, '$1 --user');
}
