/**
 * Shows how the demo goes: a few lines that are redrawn in place in a terminal, a line now and then anywhere else.
 *
 * Colours follow NO_COLOR and FORCE_COLOR; a terminal that cannot move its cursor (TERM=dumb) gets plain lines.
 */
import { styleText } from 'node:util';
import type { LockState } from '../../src/index.ts';

/** What there is to show; the demo changes it, and the view looks at it now and then. */
export interface Progress {
  startedAt: number;
  /** The number in etcd, as the last worker wrote it. */
  number: number;
  /** The newest state that the watch told. */
  lock: LockState | undefined;
  killed?: { readonly worker: number; readonly token: bigint; readonly atMs: number; freeAfterMs?: number };
  readonly workers: readonly WorkerProgress[];
}

export interface WorkerProgress {
  readonly worker: number;
  readonly of: number;
  turns: number;
  state: 'runs' | 'done' | 'killed' | 'failed';
}

type Style = Parameters<typeof styleText>[0];
type Part = readonly [text: string, style?: Style];
type Line = readonly Part[];

const stdout = process.stdout;

/** Shows `progress` until what it returns is called. */
export function showProgress(progress: Progress): () => void {
  const canRedraw = stdout.isTTY && process.env['TERM'] !== 'dumb' && stdout.rows > liveLines(progress, 80).length;
  return canRedraw ? showLive(progress) : showPlain(progress);
}

function showLive(progress: Progress): () => void {
  let drawn = 0;
  const draw = (): void => {
    const lines = liveLines(progress, stdout.columns - 1).map((line) => `${paint(line, stdout.columns - 1)}\x1b[K\n`);
    stdout.write(`${drawn === 0 ? '' : `\x1b[${drawn}A\r`}${lines.join('')}\x1b[J`);
    drawn = lines.length;
  };
  const showCursor = (): void => {
    stdout.write('\x1b[?25h');
  };
  stdout.write('\x1b[?25l\n');
  process.on('exit', showCursor);
  draw();
  const timer = setInterval(draw, 100);
  return () => {
    clearInterval(timer);
    draw();
    process.off('exit', showCursor);
    showCursor();
  };
}

function liveLines(progress: Progress, columns: number): Line[] {
  const { lock, workers } = progress;
  const [who, value] = holderOf(lock);
  return [
    fact('holder', who, 'bold'),
    fact('value', value),
    fact('token', String(lock?.holders[0]?.fencingToken ?? '-')),
    fact('waiting', String(lock?.waiting ?? '-')),
    fact('number', String(progress.number)),
    [],
    ...workers.map((worker) => workerLine(worker, who, Math.max(5, Math.min(worker.of, columns - 34)))),
    [],
    [[`  ${seconds(performance.now() - progress.startedAt).padStart(6)}  `, 'dim'], ...statusOf(progress)],
  ];
}

function fact(label: string, text: string, style?: Style): Line {
  return [[`  ${label.padEnd(10)}`, 'dim'], style === undefined ? [text] : [text, style]];
}

function workerLine({ worker, turns, of, state }: WorkerProgress, holder: string, width: number): Line {
  const full = Math.round((turns / of) * width);
  const isHolder = holder === `worker ${worker}`;
  const mark: Part = state !== 'runs' ? [state, state === 'done' ? 'dim' : 'red'] : isHolder ? ['holds', 'green'] : [''];
  const bar: Part = ['█'.repeat(full), state === 'killed' || state === 'failed' ? 'red' : isHolder ? 'green' : 'cyan'];
  return [[`  worker ${worker}  `], bar, ['░'.repeat(width - full), 'dim'], [`  ${turns}/${of}`.padEnd(9)], mark];
}

function statusOf({ killed }: Progress): Line {
  if (killed === undefined) return [['all take their turns', 'dim']];
  const { worker, atMs, freeAfterMs } = killed;
  return freeAfterMs === undefined
    ? [[`worker ${worker} was killed; its lease runs on: ${seconds(performance.now() - atMs)}`, 'yellow']]
    : [[`worker ${worker} was killed; the next came ${seconds(freeAfterMs)} later`]];
}

/** The workers' values read 'worker 2: pid 4711, turn 7 of 25'. */
function holderOf(lock: LockState | undefined): readonly [who: string, value: string] {
  const [who = '', value = ''] = (lock?.holders[0]?.value ?? '-: -').split(': ', 2);
  return [who, value];
}

function showPlain(progress: Progress): () => void {
  const shown = new Set<string>();
  const say = (what: string, text: string): void => {
    if (shown.has(what)) return;
    shown.add(what);
    console.log(`${seconds(performance.now() - progress.startedAt).padStart(8)}  ${text}`);
  };
  let quietUntil = 0;
  const look = (): void => {
    const { killed, lock, number, workers } = progress;
    if (killed !== undefined) say('kill', `worker ${killed.worker} was killed as it held: the others wait for its lease`);
    if (killed?.freeAfterMs !== undefined) say('free', `the next had the lock ${seconds(killed.freeAfterMs)} after the kill`);
    for (const { worker, state } of workers)
      if (state === 'done' || state === 'failed') say(`end ${worker}`, `worker ${worker} is ${state}`);
    const [holder] = lock?.holders ?? [];
    if (holder === undefined || performance.now() < quietUntil) return;
    quietUntil = performance.now() + 500;
    const token = String(holder.fencingToken);
    say(token, `${holder.value}, token ${token}, waiting ${lock?.waiting ?? 0}, number ${number}`);
  };
  const timer = setInterval(look, 50);
  return () => {
    clearInterval(timer);
    look();
  };
}

/** Cuts the line to what fits, so that it never takes two rows, and colours what is left. */
function paint(line: Line, columns: number): string {
  let left = columns;
  return line
    .map(([text, style]) => {
      const part = text.slice(0, left);
      left -= part.length;
      return style === undefined || part === '' ? part : styleText(style, part, { stream: stdout });
    })
    .join('');
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
