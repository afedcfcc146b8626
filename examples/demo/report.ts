/** What the demo proved: what the workers told is held against what is in etcd, and against each other. */
import { styleText } from 'node:util';
import { seconds, type Progress } from './view.ts';
import type { Told } from './worker.ts';

export interface Hold extends Told {
  readonly worker: number;
}

export interface Outcome {
  readonly progress: Progress;
  readonly holds: readonly Hold[];
  /** The number in etcd at the end. */
  readonly found: number;
  readonly victim: number;
}

/** Prints the report; returns the exit code, 1 if anything is off. */
export function report({ progress, holds, found, victim }: Outcome): number {
  const { workers, killed } = progress;
  const inOrder = [...holds].sort((a, b) => (a.from < b.from ? -1 : 1));
  const done = holds.filter(({ kind }) => kind === 'done').length;
  const overlaps = countOverlaps(inOrder);
  const tokensRise = inOrder.every(({ token }, index) => token > (inOrder[index - 1]?.token ?? 0n));
  const othersDone = workers.every(({ worker, state }) => state === (worker === victim ? 'killed' : 'done'));
  const waits = holds.map(({ waitedMs }) => waitedMs).sort((a, b) => a - b);
  const isFreed = killed?.freeAfterMs !== undefined;

  console.log();
  const verdicts = [
    judge('increments', `${done} done, ${found} found`, done === found && done > 0),
    judge('overlaps', `${overlaps} in ${holds.length} holds`, overlaps === 0),
    judge('tokens', tokensRise ? 'rise from each holder to the next' : 'do not rise', tokensRise),
    judge(
      'turns',
      workers.map(({ worker, turns, state }) => `#${worker} ${turns}${state === 'done' ? '' : ` ${state}`}`).join(', '),
      othersDone,
    ),
    judge('kill', isFreed ? `the next had the lock ${seconds(killed.freeAfterMs ?? 0)} later` : 'nobody had the lock after it', isFreed),
  ];
  console.log(row('waits', `median ${at(waits, 0.5)}, p95 ${at(waits, 0.95)}, max ${at(waits, 1)}`));
  console.log(row('took', seconds(performance.now() - progress.startedAt)));
  return verdicts.every(Boolean) ? 0 : 1;
}

/** How many began to hold before one that began earlier had stopped. */
function countOverlaps(inOrder: readonly Hold[]): number {
  let overlaps = 0;
  let heldUntil = 0n;
  for (const { from, to } of inOrder) {
    if (from < heldUntil) overlaps += 1;
    if (to > heldUntil) heldUntil = to;
  }
  return overlaps;
}

function judge(label: string, text: string, isGood: boolean): boolean {
  console.log(row(label, `${text}  ${paint(isGood ? 'green' : 'red', isGood ? 'ok' : 'NOT OK')}`));
  return isGood;
}

function row(label: string, text: string): string {
  return `  ${paint('dim', label.padEnd(10))}  ${text}`;
}

function paint(style: 'dim' | 'green' | 'red', text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

/** Of sorted milliseconds. */
function at(sorted: readonly number[], share: number): string {
  const ms = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return ms < 1_000 ? `${ms.toFixed(0)} ms` : seconds(ms);
}
