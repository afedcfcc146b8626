/** The options of the command, in one table: what is parsed and what --help tells come from here alike. */

export type CommandKind = 'run' | 'inspect' | 'list' | 'watch';

export interface OptionRow {
  /** The heading in --help under which it stands. */
  readonly group: 'Lock' | 'Output' | 'etcd' | 'About';
  /** What its value is called; without one it is a switch. */
  readonly value?: string;
  readonly short?: string;
  readonly text: string;
  /** Where it is taken from if it is not given. */
  readonly env?: string;
}

const rows = {
  try: { group: 'Lock', text: 'do not wait: exit 75 where somebody else has it or waits for it' },
  timeout: { group: 'Lock', value: 'DURATION', text: 'wait at most so long, then exit 75; without it wait for ever' },
  shared: { group: 'Lock', text: 'hold it together with all who share it; excludes who does not' },
  slots: { group: 'Lock', value: 'N', text: 'a semaphore: at most N hold it together; all must give the same N' },
  ttl: { group: 'Lock', value: 'DURATION', text: 'how long the lock outlives this process, from 2s (default 15s)' },
  grace: {
    group: 'Lock',
    value: 'DURATION',
    text:
      'when the lock is lost, the time between SIGTERM and SIGKILL for COMMAND (default TTL/20, at least 250ms: half of the time ' +
      'that is left until another may have the lock)',
  },
  value: { group: 'Lock', value: 'TEXT', text: 'what others read of the holder (default HOSTNAME:PID)' },
  json: { group: 'Output', text: 'a line of JSON for each state, for programs' },
  hosts: {
    group: 'etcd',
    value: 'LIST',
    text: 'the members of the cluster, with commas between (default 127.0.0.1:2379)',
    env: 'ETCDCTL_ENDPOINTS',
  },
  prefix: { group: 'etcd', value: 'TEXT', text: "what every key begins with (default locks/); '' for the names of `etcdctl lock`" },
  user: {
    group: 'etcd',
    value: 'NAME',
    text: "a user of etcd's own authentication; the password comes from ETCDCTL_PASSWORD, from ETCDCTL_USER=NAME:PASSWORD or from a file",
    env: 'ETCDCTL_USER',
  },
  'password-file': { group: 'etcd', value: 'FILE', text: "a file that holds the user's password" },
  cacert: { group: 'etcd', value: 'FILE', text: 'TLS: the certificate of the authority that etcd is verified by', env: 'ETCDCTL_CACERT' },
  cert: { group: 'etcd', value: 'FILE', text: 'TLS: the certificate that etcd knows this client by', env: 'ETCDCTL_CERT' },
  key: { group: 'etcd', value: 'FILE', text: 'TLS: the private key for it', env: 'ETCDCTL_KEY' },
  'request-timeout': {
    group: 'etcd',
    value: 'DURATION',
    text: 'how long one request may go unanswered, over all hosts (default 5s)',
  },
  verbose: { group: 'About', text: 'tell on stderr what goes on' },
  help: { group: 'About', short: 'h', text: 'print this' },
  version: { group: 'About', text: 'print the version' },
} as const satisfies Readonly<Record<string, OptionRow>>;

export type OptionName = keyof typeof rows;

export const optionTable: Readonly<Record<OptionName, OptionRow>> = rows;
export const optionNames = Object.keys(rows) as readonly OptionName[];
export const isOptionName = (name: string): name is OptionName => Object.hasOwn(rows, name);

/** Which headings of options a command takes. */
export const groupsOf: Readonly<Record<CommandKind, readonly OptionRow['group'][]>> = {
  run: ['Lock', 'etcd', 'About'],
  inspect: ['Output', 'etcd', 'About'],
  list: ['Output', 'etcd', 'About'],
  watch: ['Output', 'etcd', 'About'],
};
