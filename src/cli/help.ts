/** What --help prints. */
import { optionNames, type OptionRow, optionTable } from './option-table.ts';

const width = 100;
const textColumn = 30;

const head = `Usage: etcd-locker [OPTIONS] NAME -- COMMAND [ARGUMENT...]
       etcd-locker inspect [OPTIONS] NAME
       etcd-locker list [OPTIONS] [BEGINNING]
       etcd-locker watch [OPTIONS] NAME

Runs COMMAND while it holds the lock NAME in etcd, and stops it when the lock is lost. It stands in
one queue with the library etcd-locker and with \`etcdctl lock\`: first come, first served, on any
number of machines. \`inspect\` tells who holds NAME and who waits for it, \`list\` all names that are
held, \`watch\` each change.
`;

const tail = `
DURATION is a number with a unit, as in 30s, 500ms or 1m30s.

COMMAND sees ETCD_LOCKER_NAME, ETCD_LOCKER_KEY (the holder's key in etcd) and ETCD_LOCKER_TOKEN (the
fencing token, which rises from each holder of NAME to the next). Signals are passed on to it.

Exit status:
  COMMAND's own, also where a signal ended it; else
  64  the command line is not what it must be
  69  etcd cannot be reached, or refuses
  70  a mistake in etcd-locker itself
  75  the lock was not to be had, or it was lost before COMMAND had ended
  77  etcd refuses the user or the certificate
  126 COMMAND cannot be run
  127 COMMAND is not there

Examples:
  etcd-locker --hosts 10.0.0.1:2379,10.0.0.2:2379 nightly-job -- ./nightly-job --all
  etcd-locker --try --ttl 30s reports/daily -- npm run report || echo 'somebody else is at it'
  etcd-locker --slots 4 downloads -- curl -O https://example.org/file
  etcd-locker watch --json nightly-job
`;

const headings: Readonly<Record<OptionRow['group'], string>> = {
  Lock: 'Options of the lock:',
  Output: 'Options of inspect, list and watch:',
  etcd: 'Options for reaching etcd:',
  About: 'Further options:',
};

export function helpText(): string {
  const sections = Object.entries(headings).map(([group, heading]) => {
    const names = optionNames.filter((name) => optionTable[name].group === group);
    return `\n${heading}\n${names.map((name) => optionLines(name, optionTable[name])).join('')}`;
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
