/**
 * Shows the progress of the demo. A terminal gets a few lines that are redrawn in place; other outputs get a new line from time
 * to time. Colours follow NO_COLOR and FORCE_COLOR. A terminal that cannot move its cursor (TERM=dumb) gets plain lines.
 */
import { styleText } from 'node:util';
import type { LockState } from '../../src/index.ts';

/** The data that the view shows. The demo changes it, and the view reads it at intervals. */
export interface Progress {
  startedAt: number;
  /** The number in etcd, as the last worker wrote it. */
  number: number;
  /** The newest state from the watch. */
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

/** Shows `progress`. Returns a function that stops it. */
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
  const [holder, value] = holderOf(lock);
  return [
    fact('holder', holder, 'bold'),
    fact('value', value),
    fact('token', String(lock?.holders[0]?.fencingToken ?? '-')),
    fact('waiting', String(lock?.waiting ?? '-')),
    fact('number', String(progress.number)),
    [],
    ...workers.map((worker) => workerLine(worker, holder, Math.max(5, Math.min(worker.of, columns - 34)))),
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
  if (killed === undefined) return [['all workers take turns', 'dim']];
  const { worker, atMs, freeAfterMs } = killed;
  return freeAfterMs === undefined
    ? [[`worker ${worker} was killed; its lease has not expired yet: ${seconds(performance.now() - atMs)}`, 'yellow']]
    : [[`worker ${worker} was killed; the next holder got the lock ${seconds(freeAfterMs)} later`]];
}

/** Splits a value of a worker, such as 'worker 2: pid 4711, turn 7 of 25'. */
function holderOf(lock: LockState | undefined): readonly [holder: string, value: string] {
  const [holder = '', value = ''] = (lock?.holders[0]?.value ?? '-: -').split(': ', 2);
  return [holder, value];
}

function showPlain(progress: Progress): () => void {
  const shown = new Set<string>();
  const print = (key: string, text: string): void => {
    if (shown.has(key)) return;
    shown.add(key);
    console.log(`${seconds(performance.now() - progress.startedAt).padStart(8)}  ${text}`);
  };
  let quietUntil = 0;
  const update = (): void => {
    const { killed, lock, number, workers } = progress;
    if (killed !== undefined)
      print('kill', `worker ${killed.worker} was killed while it held the lock: the others wait until its lease expires`);
    if (killed?.freeAfterMs !== undefined) print('free', `the next holder got the lock ${seconds(killed.freeAfterMs)} after the kill`);
    for (const { worker, state } of workers)
      if (state === 'done' || state === 'failed') print(`end ${worker}`, `worker ${worker} is ${state}`);
    const [holder] = lock?.holders ?? [];
    if (holder === undefined || performance.now() < quietUntil) return;
    quietUntil = performance.now() + 500;
    const token = String(holder.fencingToken);
    print(token, `${holder.value}, token ${token}, waiting ${lock?.waiting ?? 0}, number ${number}`);
  };
  const timer = setInterval(update, 50);
  return () => {
    clearInterval(timer);
    update();
  };
}

/** Cuts the line to the width of the terminal, so that it never takes two rows, and adds the colours. */
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
