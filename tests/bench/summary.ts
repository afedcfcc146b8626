/** The first lines of the page, for a reader with five seconds: what is faster, by how much, and what is slower. */
import { goalsOf } from './goals.ts';
import { perSecond, type QueueRound, rateOf, type Results } from './results.ts';
import { quartiles, ratios, type Quartiles, type Verdict } from './statistics.ts';

interface Line {
  /** With '#' for the variants. */
  readonly label: string;
  readonly workload: string;
  readonly variants?: readonly (string | number)[];
}

/** The work of the summary. Variants of one kind share one phrase. */
const work: readonly Line[] = [
  { label: 'kept lock again', workload: 'kept' },
  { label: '1 000 kept locks in rotation', workload: 'rotation' },
  { label: 'hot name, # clients', workload: 'clients-#', variants: [2, 8, 32] },
  { label: '1 ms away, # clients', workload: 'delay-1-#', variants: [2, 8, 32] },
  { label: '5 ms away, # clients', workload: 'delay-5-#', variants: [2, 8, 32] },
  { label: 'hot name, # processes', workload: 'hot-#', variants: [2, 8, 32] },
  { label: 'hot name, 32 callers of a client', workload: 'hot-callers' },
  { label: '256 names at once', workload: 'names-256' },
  { label: '# waiters of a name', workload: 'queue-#', variants: [100, 1_000] },
  { label: 'one at a time', workload: 'one' },
  { label: 'one at a time, 3 members', workload: 'cluster-one' },
];

const kinds = ['Faster', 'About equal', 'Slower'] as const;
type Kind = (typeof kinds)[number];

/** Returns the lines in Markdown. */
export function summary(results: Results): string[] {
  const phrases = work.flatMap((line) => phrasesOf(results, line));
  const bullets = kinds.flatMap((kind) => {
    const ofKind = phrases.filter((phrase) => phrase.kind === kind).map(({ text }) => text);
    if (ofKind.length === 0 && kind === 'About equal') return [];
    return wrapped(`- **${kind}:** ${ofKind.length === 0 ? 'nothing' : ofKind.join('; ')}.`);
  });
  return [`Speed as a multiple of Go's \`concurrency.Mutex\`. Goals: ${goalCounts(results)}.`, '', ...bullets];
}

function phrasesOf(results: Results, { label, workload, variants }: Line): { readonly kind: Kind; readonly text: string }[] {
  const found = (variants ?? ['']).flatMap((variant) => {
    const ratio = ratioToGo(results, workload.replace('#', String(variant)));
    return ratio === undefined ? [] : [{ variant, ratio, kind: kindOf(ratio) }];
  });
  return kinds.flatMap((kind) => {
    const ofKind = found.filter((one) => one.kind === kind);
    if (ofKind.length === 0) return [];
    const names = ofKind.map(({ variant }) => variant).join('/');
    const times = ofKind.map(({ ratio }) => short(ratio.median)).join('/');
    return [{ kind, text: `${label.replace('#', names)} ${times} ×` }];
  });
}

function ratioToGo(results: Results, workload: string): Quartiles | undefined {
  const queue = results.queues.find((one) => one.workload === workload)?.rounds;
  const { locker, go } = queue === undefined ? ratesOf(results, workload) : { locker: turns(queue.locker), go: turns(queue.go) };
  return locker && go && quartiles(ratios(locker, go));
}

function ratesOf(results: Results, workload: string): { readonly locker?: number[] | undefined; readonly go?: number[] | undefined } {
  const { locker, go } = rateOf(results, workload)?.rounds ?? {};
  return { locker: locker?.map(perSecond), go: go?.map(perSecond) };
}

const turns = (rounds: readonly QueueRound[] | undefined): number[] | undefined => rounds?.map(({ holdsPerSecond }) => holdsPerSecond);

/** By the quartiles, as for the goals. */
function kindOf({ lower, upper }: Quartiles): Kind {
  if (lower > 1) return 'Faster';
  return upper < 1 ? 'Slower' : 'About equal';
}

function goalCounts(results: Results): string {
  const verdicts = goalsOf(results).map(({ found }) => found?.verdict);
  const count = (wanted: Verdict): string => `${verdicts.filter((verdict) => verdict === wanted).length} ${wanted}`;
  return [count('met'), count('open'), count('missed')].join(', ');
}

/** Two digits are enough for a glance. */
function short(value: number): string {
  return value >= 10 ? String(Math.round(value)) : String(Number(value.toPrecision(2)));
}

/** Breaks a line of a list before it exceeds 100 characters. */
function wrapped(text: string): string[] {
  const lines: string[] = [];
  let line = '';
  // A number stays with its unit.
  for (const word of text.split(/ (?!×)/)) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (longer.length <= 100) line = longer;
    else {
      lines.push(line);
      line = `  ${word}`;
    }
  }
  return [...lines, line];
}
