/** The options of the command. The parser and --help both use this table. */

export type CommandKind = 'run' | 'inspect' | 'list' | 'watch' | 'break';

export interface OptionRow {
  /** The section of --help that lists the option. */
  readonly group: 'Lock' | 'Output' | 'Check' | 'Break' | 'etcd' | 'Other';
  /** The name of its value in --help. An option without one is a switch. */
  readonly placeholder?: string;
  readonly short?: string;
  readonly description: string;
  /** The environment variable that is read if the option is not given. */
  readonly env?: string;
}

const rows = {
  try: { group: 'Lock', description: 'do not wait: exit with 75 if the lock is not free now' },
  timeout: {
    group: 'Lock',
    placeholder: 'DURATION',
    description: 'wait at most this long for the lock, then exit with 75 (default: no limit)',
  },
  shared: { group: 'Lock', description: 'hold the lock together with other --shared holders; exclude all others' },
  slots: {
    group: 'Lock',
    placeholder: 'N',
    description: 'allow at most N holders at once; all callers must pass the same N',
  },
  'min-hold': {
    group: 'Lock',
    placeholder: 'DURATION',
    description:
      'leave the lock taken until this time after it was acquired, even if COMMAND and etcd-locker end before; rounded up to ' +
      'seconds (default 0)',
  },
  ttl: {
    group: 'Lock',
    placeholder: 'DURATION',
    description: 'if etcd-locker is killed, the lock becomes free after this time (at least 2s, default 15s)',
  },
  grace: {
    group: 'Lock',
    placeholder: 'DURATION',
    description:
      'time between SIGTERM and SIGKILL for COMMAND when the lock is lost (default TTL/20, at least 250ms: half of the time ' +
      'until another process can get the lock)',
  },
  'max-hold': {
    group: 'Lock',
    placeholder: 'DURATION',
    description: 'stop COMMAND if it runs longer than this, then release the lock and exit with 75',
  },
  value: {
    group: 'Lock',
    placeholder: 'TEXT',
    description: 'describes this holder in the output of inspect, list, watch and break (default HOSTNAME:PID)',
  },
  json: { group: 'Output', description: 'print one line of JSON for each lock or change' },
  check: { group: 'Check', description: 'print nothing: exit with 0 if NAME is free, and with 75 if it is held' },
  token: { group: 'Break', placeholder: 'N', description: 'remove only holders with this fencing token' },
  yes: { group: 'Break', description: 'do not ask; needed if there is no terminal' },
  hosts: {
    group: 'etcd',
    placeholder: 'LIST',
    description: 'etcd hosts with ports, separated by commas (default 127.0.0.1:2379)',
    env: 'ETCDCTL_ENDPOINTS',
  },
  prefix: {
    group: 'etcd',
    placeholder: 'TEXT',
    description: "prefix of all keys in etcd (default locks/); with '', `etcdctl lock NAME` takes the same lock",
  },
  user: {
    group: 'etcd',
    placeholder: 'NAME',
    description: 'etcd user; the password comes from --password-file, ETCDCTL_USER=NAME:PASSWORD or ETCDCTL_PASSWORD',
    env: 'ETCDCTL_USER',
  },
  'password-file': { group: 'etcd', placeholder: 'FILE', description: 'file that contains the password of the user' },
  cacert: {
    group: 'etcd',
    placeholder: 'FILE',
    description: "TLS: certificate of the authority that signed etcd's certificate (default: the authorities that Node trusts)",
    env: 'ETCDCTL_CACERT',
  },
  cert: { group: 'etcd', placeholder: 'FILE', description: 'TLS: client certificate that etcd verifies', env: 'ETCDCTL_CERT' },
  key: { group: 'etcd', placeholder: 'FILE', description: 'TLS: private key of the client certificate', env: 'ETCDCTL_KEY' },
  'request-timeout': {
    group: 'etcd',
    placeholder: 'DURATION',
    description: 'time limit for one request to etcd, retries on other hosts included (default 5s)',
  },
  verbose: { group: 'Other', description: 'write log messages to stderr, and what etcd-locker waits for' },
  help: { group: 'Other', short: 'h', description: 'print this help' },
  version: { group: 'Other', description: 'print the version' },
} as const satisfies Readonly<Record<string, OptionRow>>;

export type OptionName = keyof typeof rows;

export const optionTable: Readonly<Record<OptionName, OptionRow>> = rows;
export const optionNames = Object.keys(rows) as readonly OptionName[];
export const isOptionName = (name: string): name is OptionName => Object.hasOwn(rows, name);

/** The groups of options that each form of the command accepts. */
export const groupsOf: Readonly<Record<CommandKind, readonly OptionRow['group'][]>> = {
  run: ['Lock', 'etcd', 'Other'],
  inspect: ['Output', 'Check', 'etcd', 'Other'],
  list: ['Output', 'etcd', 'Other'],
  watch: ['Output', 'etcd', 'Other'],
  break: ['Output', 'Break', 'etcd', 'Other'],
};
