/** Reports the result of the demo: compares the messages of the workers with the number in etcd and with each other. */
import { styleText } from 'node:util';
import { seconds, type Progress } from './view.ts';
import type { Message } from './worker.ts';

export interface Hold extends Message {
  readonly worker: number;
}

export interface Outcome {
  readonly progress: Progress;
  readonly holds: readonly Hold[];
  /** The number in etcd at the end. */
  readonly found: number;
  readonly victim: number;
}

/** Prints the report and returns the exit code: 1 if a check failed. */
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
    judge(
      'kill',
      isFreed ? `the next holder got the lock ${seconds(killed.freeAfterMs ?? 0)} later` : 'no worker got the lock afterwards',
      isFreed,
    ),
  ];
  console.log(row('waits', `median ${quantile(waits, 0.5)}, p95 ${quantile(waits, 0.95)}, max ${quantile(waits, 1)}`));
  console.log(row('took', seconds(performance.now() - progress.startedAt)));
  return verdicts.every(Boolean) ? 0 : 1;
}

/** Counts the holds that began before an earlier hold had ended. */
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

/** Formats a quantile of sorted times in milliseconds. */
function quantile(sorted: readonly number[], share: number): string {
  const ms = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return ms < 1_000 ? `${ms.toFixed(0)} ms` : seconds(ms);
}
