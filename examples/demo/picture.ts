/**
 * Draws a recorded run of the demo as SVG: one row for each worker, one bar for each hold, and the report below.
 *
 * The layout depends on the recording alone. The colours follow the light or dark scheme of the reader.
 */

/** A run of the demo. Times are in milliseconds since the first hold began. */
export interface Recording {
  /** The version and the origin of etcd. */
  readonly etcd: string;
  readonly holds: readonly RecordedHold[];
  /** The lines that the demo printed at its end. */
  readonly report: readonly string[];
}

export interface RecordedHold {
  readonly worker: number;
  readonly fromMs: number;
  readonly toMs: number;
  /** True if the worker was killed while it held. */
  readonly isKilled: boolean;
}

const width = 880;
const left = 96;
const right = 24;
const top = 64;
const rowHeight = 34;
const barHeight = 18;
const lineHeight = 20;

export function drawRecording({ etcd, holds, report }: Recording): string {
  const workers = [...new Set(holds.map(({ worker }) => worker))].sort((a, b) => a - b);
  const seconds = Math.ceil(Math.max(...holds.map(({ toMs }) => toMs)) / 1_000);
  const scale = (width - left - right) / (seconds * 1_000);
  const x = (ms: number): string => (left + ms * scale).toFixed(1);
  const sizeOf = (fromMs: number, toMs: number, of: number): string =>
    `width="${Math.max(1, (toMs - fromMs) * scale).toFixed(1)}" height="${of}"`;
  const rowOf = (worker: number): number => top + workers.indexOf(worker) * rowHeight;
  const bottom = top + workers.length * rowHeight;
  const height = bottom + 40 + report.length * lineHeight;

  const killed = holds.find(({ isKilled }) => isKilled);
  const next = killed && holds.find(({ fromMs }) => fromMs > killed.toMs);
  const grid = Array.from({ length: seconds + 1 }, (_, second) => [
    `<path class="grid" d="M${x(second * 1_000)} ${top - 4}V${bottom}"/>`,
    `<text class="dim" x="${x(second * 1_000)}" y="${bottom + 16}" text-anchor="middle">${second} s</text>`,
  ]).flat();
  const rows = workers.map((worker) => `<text class="name" x="16" y="${rowOf(worker) + 14}">worker ${worker}</text>`);
  const bars = holds.map(({ worker, fromMs, toMs, isKilled }) => {
    const place = `x="${x(fromMs)}" y="${rowOf(worker)}" ${sizeOf(fromMs, toMs, barHeight)}`;
    return `<rect class="${isKilled ? 'killed' : 'hold'}" ${place} rx="1.5"/>`;
  });
  const gap =
    killed === undefined || next === undefined
      ? []
      : [
          `<rect class="gap" x="${x(killed.toMs)}" y="${top - 4}" ${sizeOf(killed.toMs, next.fromMs, bottom - top)}/>`,
          `<text class="killed" x="${x(killed.toMs + 80)}" y="${rowOf(killed.worker) + 14}">killed: the others wait for its lease</text>`,
        ];
  const lines = report.flatMap((line, index) => {
    const [, label = '', text = '', verdict = ''] = /^ *(\S+) +(.*?)( {2}ok)?$/.exec(line) ?? [];
    const y = bottom + 48 + index * lineHeight;
    const mark = verdict === '' ? '' : ' <tspan class="ok">ok</tspan>';
    return [`<text class="dim" x="16" y="${y}">${escape(label)}</text>`, `<text x="${left}" y="${y}">${escape(text)}${mark}</text>`];
  });

  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    '<title>A run of the demo: four processes hold one lock in turn, and one of them is killed while it holds</title>',
    style,
    `<rect class="page" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>`,
    '<text class="head" x="16" y="28">npm run demo: four processes take turns on one lock. Each bar is a hold</text>',
    `<text class="dim" x="16" y="46">${escape(etcd)}</text>`,
    ...grid,
    ...gap.slice(0, 1),
    ...rows,
    ...bars,
    ...gap.slice(1),
    ...lines,
    '</svg>',
    '',
  ].join('\n');
}

const style = `<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .head { font-weight: 600; font-size: 15px }
  .dim { fill: #59636e; font-size: 12px }
  .ok { fill: #1a7f37; font-weight: 600 }
  .page { fill: #ffffff; stroke: #d1d9e0 }
  .grid { stroke: #d1d9e0 }
  .hold { fill: #0969da }
  .gap { fill: #cf222e; fill-opacity: 0.08 }
  .killed { fill: #cf222e }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .dim { fill: #9198a1 }
    .ok { fill: #3fb950 }
    .page { fill: #0d1117; stroke: #3d444d }
    .grid { stroke: #30363d }
    .hold { fill: #4493f8 }
    .gap { fill: #f85149; fill-opacity: 0.14 }
    .killed { fill: #f85149 }
  }
</style>`;

const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
