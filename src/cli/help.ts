/** What --help prints. */
import { type CommandKind, groupsOf, optionNames, type OptionRow, optionTable } from './option-table.ts';

/** Of a terminal that is 80 columns wide. */
const width = 79;
const textColumn = 30;

interface Page {
  readonly head: string;
  readonly groups: readonly OptionRow['group'][];
  readonly tail: string;
}

const duration = '\nDURATION is a number with a unit, as in 30s, 500ms or 1m30s.\n';

const statuses = `
Exit status of inspect, list and watch:
  0   all was told
  64  the command line is not what it must be
  69  etcd cannot be reached, or refuses
  74  stdout cannot be written to
  77  etcd refuses the user or the certificate
`;

const whole: Page = {
  head: `Usage: etcd-locker [OPTIONS] NAME -- COMMAND [ARGUMENT...]
       etcd-locker inspect [OPTIONS] NAME
       etcd-locker list [OPTIONS] [BEGINNING]
       etcd-locker watch [OPTIONS] NAME

Runs COMMAND while it holds the lock NAME in etcd, and stops it when the lock
is lost. It stands in one queue with the library etcd-locker and with
\`etcdctl lock\`: first come, first served, on any number of machines.
\`inspect\` tells who holds NAME and who waits for it, \`list\` all names that are
held, \`watch\` each change; \`etcd-locker inspect --help\` tells more.
`,
  groups: ['Lock', 'Output', 'etcd', 'About'],
  tail: `${duration}
COMMAND sees ETCD_LOCKER_NAME, ETCD_LOCKER_KEY (the holder's key in etcd) and
ETCD_LOCKER_TOKEN (the fencing token, which rises from each holder of NAME to
the next). Signals are passed on to it; what is typed in a terminal (^C) it
gets from there. Under a terminal a lost lock stops COMMAND itself, but not
what it has started: a shell should \`exec\` what it runs.

Exit status:
  COMMAND's own, also where a signal ended it; else
  64  the command line is not what it must be
  69  etcd cannot be reached, or refuses
  70  a mistake in etcd-locker itself
  74  stdout cannot be written to (by inspect, list and watch)
  75  the lock was not to be had, or it was lost before COMMAND had ended
  77  etcd refuses the user or the certificate
  126 COMMAND cannot be run
  127 COMMAND is not there

Examples:
  etcd-locker --hosts 10.0.0.1:2379,10.0.0.2:2379 nightly -- ./nightly --all
  etcd-locker --try reports/daily -- npm run report || echo 'not now'
  etcd-locker --slots 4 downloads -- curl -O https://example.org/file
  etcd-locker watch --json nightly
`,
};

const pages: Readonly<Record<Exclude<CommandKind, 'run'>, Page>> = {
  inspect: {
    head: `Usage: etcd-locker inspect [OPTIONS] NAME

Tells who holds NAME and who waits for it, in the order of the queue, as of one
revision of etcd.
`,
    groups: groupsOf.inspect,
    tail: duration + statuses,
  },
  list: {
    head: `Usage: etcd-locker list [OPTIONS] [BEGINNING]

Tells each name that somebody holds, or of these the ones that begin so.
`,
    groups: groupsOf.list,
    tail: duration + statuses,
  },
  watch: {
    head: `Usage: etcd-locker watch [OPTIONS] NAME

Tells who holds NAME, and again at each change of the holders or their values,
until a signal ends it. It lives on while etcd cannot be reached.
`,
    groups: groupsOf.watch,
    tail: duration + statuses,
  },
};

const headings: Readonly<Record<OptionRow['group'], string>> = {
  Lock: 'Options of the lock:',
  Output: 'Options of inspect, list and watch:',
  etcd: 'Options for reaching etcd:',
  About: 'Further options:',
};

/** Of one of the words that show something, or of the whole. */
export function helpText(of?: keyof typeof pages): string {
  const { head, groups, tail } = of === undefined ? whole : pages[of];
  const sections = groups.map((group) => {
    const names = optionNames.filter((name) => optionTable[name].group === group);
    return `\n${headings[group]}\n${names.map((name) => optionLines(name, optionTable[name])).join('')}`;
  });
  return `${head}${sections.join('')}${tail}`;
}

function optionLines(name: string, { value, short, text, env }: OptionRow): string {
  const left = `  ${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`;
  const lines = wrapped(env === undefined ? text : `${text} [${env}]`, width - textColumn);
  return lines.map((line, index) => `${(index === 0 ? left : '').padEnd(textColumn)}${line}\n`).join('');
}

function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
