/** Tests of the picture of the demo: what is drawn of a run, and that docs/demo.svg shows a run without a fault. */
import { expect, test } from 'vitest';
import { drawRecording, type RecordedHold } from '../../examples/demo/picture.ts';
import { readPage } from '../support/run/markdown.ts';

const hold = (worker: number, fromMs: number, toMs: number, isKilled = false): RecordedHold => ({ worker, fromMs, toMs, isKilled });

/** Returns the left and right edge of each bar with one of these classes, from left to right. */
function edgesOf(svg: string, classes: string): number[][] {
  return [...svg.matchAll(new RegExp(`<rect class="(?:${classes})" x="([\\d.]+)" y="[\\d.]+" width="([\\d.]+)"`, 'g'))]
    .map(([, x, width]) => [Number(x), Number(x) + Number(width)])
    .sort(([a = 0], [b = 0]) => a - b);
}

test('a recorded run has a bar for each hold, and shows the time from the kill to the next hold', () => {
  const holds = [hold(1, 0, 100), hold(2, 200, 300, true), hold(1, 900, 1_000)];
  const svg = drawRecording({ etcd: 'etcd <3.5>', holds, report: ['  overlaps    0 in 3 holds  ok'] });
  const [first = [], killed = [], last = []] = edgesOf(svg, 'hold|killed');
  const [gap = []] = edgesOf(svg, 'gap');

  expect(first[0]).toBeLessThan(killed[0] ?? 0);
  expect(gap[0]).toBeCloseTo(killed[1] ?? 0);
  expect(gap[1]).toBeCloseTo(last[0] ?? 0);
  expect(svg).toContain('0 in 3 holds <tspan class="ok">ok</tspan>');
  expect(svg).toContain('etcd &lt;3.5>');
});

test('docs/demo.svg shows a run in which no hold overlaps another, and all checks are ok', () => {
  const svg = readPage('docs/demo.svg');
  const edges = edgesOf(svg, 'hold|killed');

  expect(edges).toHaveLength(88);
  // Edges are rounded to a tenth of a pixel.
  expect(edges.filter(([left = 0], index) => left < (edges[index - 1]?.[1] ?? 0) - 0.15)).toEqual([]);
  expect(svg.match(/class="ok">ok</g)).toHaveLength(5);
  expect(svg).toContain('prefers-color-scheme: dark');
  expect(svg).not.toMatch(/<script|href=/);
});
