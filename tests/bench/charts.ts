/** Mermaid bar charts of the main workloads, for GitHub. */
import { perSecond, rivalNames, rivalTitles, type RateResult, type Results, type RivalName } from './results.ts';
import { median, quantile } from './statistics.ts';

const charted = ['kept', 'one', 'names-256', 'clients-8', 'delay-1-8', 'hot-8', 'hot-callers'];

interface Bar {
  readonly label: string;
  readonly height: number;
}

export function charts({ rates, delays, queues }: Results): string[] {
  const ofRates = charted.flatMap((workload) => rates.filter((result) => result.workload === workload)).map(ofRate);
  const handOver = delays.find(({ workload }) => workload === 'handover');
  const ofDelays =
    handOver === undefined
      ? []
      : [
          chart(
            'Release → next waiter holds, median (less is better)',
            'ms',
            barsOf((rival) => {
              const samples = handOver.rounds[rival];
              return samples && quantile(samples.flat(), 0.5);
            }, 'raw put'),
          ),
        ];
  const ofQueues = queues.slice(-1).map(({ waiters, rounds }) =>
    chart(
      `${waiters} waiters on one name`,
      'turns per second',
      barsOf((rival) => rounds[rival] && median(rounds[rival].map(({ holdsPerSecond }) => holdsPerSecond))),
    ),
  );
  return [...ofRates, ...ofDelays, ...ofQueues];
}

function ofRate({ title, rounds }: RateResult): string {
  return chart(
    `${title.charAt(0).toUpperCase()}${title.slice(1)}`,
    'locks per second',
    barsOf((rival) => rounds[rival] && median(rounds[rival].map(perSecond))),
  );
}

function barsOf(height: (rival: RivalName) => number | undefined, floor = rivalTitles.floor): Bar[] {
  return rivalNames.flatMap((rival) => {
    const value = height(rival);
    return value === undefined ? [] : [{ label: rival === 'floor' ? floor : rivalTitles[rival], height: value }];
  });
}

function chart(title: string, unit: string, bars: readonly Bar[]): string {
  const digits = bars.some(({ height }) => height >= 100) ? 0 : 2;
  return [
    '```mermaid',
    'xychart-beta',
    `  title "${title}"`,
    `  x-axis [${bars.map(({ label }) => `"${label}"`).join(', ')}]`,
    `  y-axis "${unit}" 0 --> ${(1.1 * Math.max(...bars.map(({ height }) => height))).toFixed(digits)}`,
    `  bar [${bars.map(({ height }) => height.toFixed(digits)).join(', ')}]`,
    '```',
  ].join('\n');
}
