/** What a failure is to the shell: an exit status of sysexits.h, and one line on stderr. */
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

/** How the process ends: with a status, or by a signal of its own as the command before it. */
export type Ending = { readonly status: number } | { readonly signal: NodeJS.Signals };

/** Writes one line to stderr, whatever is in the message. */
export function printError(message: string): void {
  process.stderr.write(`etcd-locker: ${onOneLine(message)}\n`);
}

export function endingOf(error: unknown): Ending {
  // As a program that does not know of SIGPIPE ends by it.
  if (error instanceof OutputError && error.code === 'EPIPE') return { signal: 'SIGPIPE' };
  const [status, message] = told(error);
  printError(message);
  return { status };
}

function told(error: unknown): [status: number, message: string] {
  if (error instanceof UsageError) return [exitStatus.usage, `${error.message} (see etcd-locker --help)`];
  if (error instanceof InvalidOptionsError) return [exitStatus.usage, `${issuesOf(error)} (see etcd-locker --help)`];
  if (error instanceof OutputError) return [exitStatus.output, error.message];
  if (!isLockerError(error)) return [exitStatus.software, error instanceof Error ? (error.stack ?? error.message) : String(error)];
  switch (error.code) {
    case 'LOCK_TIMEOUT':
    case 'LOCK_LOST':
      return [exitStatus.tempFail, error.message];
    case 'ETCD_UNAVAILABLE':
    case 'ETCD_REFUSED':
      return [exitStatus.unavailable, withOptions(error.message)];
    case 'ETCD_AUTH':
      return [exitStatus.noPermission, withOptions(error.message)];
    case 'INVALID_OPTIONS':
    case 'LOCKER_CLOSED':
    case 'LOCK_RELEASED':
      return [exitStatus.software, error.stack ?? error.message];
  }
}

/** The library speaks of its own options; whoever typed a command line knows others. */
const optionOf: Readonly<Record<string, string>> = {
  name: 'NAME',
  startsWith: 'BEGINNING',
  hosts: '--hosts or ETCDCTL_ENDPOINTS',
  prefix: '--prefix',
  value: '--value',
  ttlMs: '--ttl',
  timeoutMs: '--timeout',
  slots: '--slots',
  requestTimeoutMs: '--request-timeout',
  auth: '--user',
  credentials: '--cacert',
};

function issuesOf({ issues }: InvalidOptionsError): string {
  return issues.map(({ path, message }) => `${optionOf[path.split(/[.[]/, 1)[0] ?? ''] ?? path}: ${message}`).join('; ');
}

const optionOfCredential: Readonly<Record<string, string>> = { rootCertificate: '--cacert', certChain: '--cert', privateKey: '--key' };

function withOptions(message: string): string {
  return message
    .replaceAll(/\bcredentials\.(\w+)/g, (path, name: string) => optionOfCredential[name] ?? path)
    .replaceAll(/\b(set|the option) credentials\b/g, '$1 --cacert');
}
