/** Builds the text of --help from the option table. */
import { type CommandKind, groupsOf, optionNames, type OptionRow, optionTable } from './option-table.ts';

/** Fits a terminal of 80 columns. */
const width = 79;
const textColumn = 30;

interface Page {
  readonly head: string;
  readonly groups: readonly OptionRow['group'][];
  readonly tail: string;
}

const duration = '\nDURATION is a number with a unit: 30s, 500ms or 1m30s.\n';

const statuses = (first: string, busy = ''): string => `
Exit status:
  0   ${first}
  64  the command line is invalid
  69  etcd is unreachable or refused a request
  74  stdout cannot be written to
${busy}  77  etcd rejected the user or the certificate
`;

const overview: Page = {
  head: `Usage: etcd-locker [OPTIONS] NAME -- COMMAND [ARGUMENT...]
       etcd-locker inspect [OPTIONS] NAME
       etcd-locker list [OPTIONS] [NAME_PREFIX]
       etcd-locker watch [OPTIONS] [NAME]
       etcd-locker break [OPTIONS] NAME

Waits for the lock NAME in etcd, runs COMMAND while it holds the lock, and
releases the lock when COMMAND ends. If the lock is lost, etcd-locker stops
COMMAND. All processes that lock NAME wait in one queue, first come, first
served, on any number of machines. The queue is shared with the etcd-locker
library and with \`etcdctl lock\`.

\`inspect\` prints the holders and the waiters of NAME. \`list\` prints all names
that are held. \`watch\` prints the holders of NAME at each change. \`break\`
removes the holders of NAME. For details see \`etcd-locker inspect --help\` and
likewise for list, watch and break.
`,
  groups: ['Lock', 'Output', 'Check', 'Break', 'etcd', 'Other'],
  tail: `${duration}
Environment variables of COMMAND:
  ETCD_LOCKER_NAME   the name of the lock
  ETCD_LOCKER_KEY    the key of the holder in etcd
  ETCD_LOCKER_TOKEN  the fencing token, higher for each new holder of NAME

etcd-locker forwards signals to COMMAND. Signals typed in a terminal (^C) reach
COMMAND directly. In a terminal, etcd-locker stops only COMMAND when the lock
is lost, and not the child processes of COMMAND. A shell script should start
its program with \`exec\`. With --max-hold, the lock is held until COMMAND has
ended.

Exit status:
  If COMMAND ran and the lock was not lost, the exit status of COMMAND. If a
  signal ended COMMAND, the same signal ends etcd-locker. Otherwise:
  64  the command line is invalid
  69  etcd is unreachable or refused a request
  70  internal error of etcd-locker
  74  stdout cannot be written to (inspect, list, watch and break)
  75  the lock was busy, it was lost before COMMAND ended, or --max-hold ended
      COMMAND; NAME is held (inspect --check); the answer to break was no
  77  etcd rejected the user or the certificate
  126 COMMAND cannot be run
  127 COMMAND was not found

Examples:
  etcd-locker --hosts 10.0.0.1:2379,10.0.0.2:2379 nightly -- ./nightly --all
  etcd-locker --try reports/daily -- npm run report || echo 'not now'
  etcd-locker --slots 4 downloads -- curl -O https://example.org/file
  etcd-locker watch --json nightly
  etcd-locker inspect --check nightly && echo 'free'
  etcd-locker break --token 4711 nightly
`,
};

const pages: Readonly<Record<Exclude<CommandKind, 'run'>, Page>> = {
  inspect: {
    head: `Usage: etcd-locker inspect [OPTIONS] NAME

Prints the holders of NAME, then the waiters in the order of the queue. All
rows show the same revision of etcd. LEFT is the time until the lease ends
unless its process renews it.
`,
    groups: groupsOf.inspect,
    tail: duration + statuses('the output is complete; with --check: NAME is free', '  75  with --check: NAME is held\n'),
  },
  list: {
    head: `Usage: etcd-locker list [OPTIONS] [NAME_PREFIX]

Prints each name that is held. With NAME_PREFIX, prints only names that start
with it. TOKEN and LEFT are those of the first holder. LEFT is the time until
the lease ends unless its process renews it.
`,
    groups: groupsOf.list,
    tail: duration + statuses('the output is complete'),
  },
  watch: {
    head: `Usage: etcd-locker watch [OPTIONS] [NAME]

Prints the holders of NAME, and prints them again each time that the holders or
their values change. Without NAME, does this for all names. Runs until a signal
ends it. If etcd becomes unreachable after the first output, watch waits until
it is reachable again, and says meanwhile that the holders may be old.
`,
    groups: groupsOf.watch,
    tail: duration + statuses('the output is complete'),
  },
  break: {
    head: `Usage: etcd-locker break [OPTIONS] NAME

Removes the holders of NAME from the queue, so that the next waiter gets the
lock. Shows the holders and asks first. Holders that come later stay.

A holder of etcd-locker loses its lock and stops its command, a moment later
than the next holder gets the lock. A holder that hangs, or that is another
program, is not stopped: it may go on working. Stop it first if you can.
`,
    groups: groupsOf.break,
    tail: duration + statuses('the holders are removed, or NAME was free', '  75  nothing was removed: the answer was no\n'),
  },
};

const headings: Readonly<Record<OptionRow['group'], string>> = {
  Lock: 'Options for NAME -- COMMAND:',
  Output: 'Options for inspect, list, watch and break:',
  Check: 'Options for inspect:',
  Break: 'Options for break:',
  etcd: 'Connection options:',
  Other: 'Other options:',
};

/** Returns the help of `topic`, or of the whole command. */
export function helpText(topic?: keyof typeof pages): string {
  const { head, groups, tail } = topic === undefined ? overview : pages[topic];
  const sections = groups.map((group) => {
    const names = optionNames.filter((name) => optionTable[name].group === group);
    return `\n${headings[group]}\n${names.map((name) => formatOption(name, optionTable[name])).join('')}`;
  });
  return `${head}${sections.join('')}${tail}`;
}

function formatOption(name: string, { placeholder, short, description, env }: OptionRow): string {
  const left = `  ${short === undefined ? '' : `-${short}, `}--${name}${placeholder === undefined ? '' : ` ${placeholder}`}`;
  const lines = wrap(env === undefined ? description : `${description} [${env}]`, width - textColumn);
  return lines.map((line, index) => `${(index === 0 ? left : '').padEnd(textColumn)}${line}\n`).join('');
}

function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
