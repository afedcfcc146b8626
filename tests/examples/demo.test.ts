/** Tests that the report of the demo is correct, and that the demo leaves no process behind. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test, vi } from 'vitest';
import { onPath } from '../support/etcd/binary.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const isLinux = process.platform === 'linux';
const script = isLinux ? await onPath('script', process.env['PATH']) : null;

test('the demo counts correctly with a killed worker, and prints plain lines without a terminal', { timeout: 90_000 }, async () => {
  await using demo = start(process.execPath, ['examples/demo/demo.ts'], { FORCE_COLOR: undefined });
  const code = await demo.ended;

  expect(demo.output).toMatch(/^Using etcd \d/);
  expect(demo.output).toMatch(/worker \d: pid \d+, turn \d+ of 25, token \d+, waiting \d, number \d+\n/);
  expect(demo.output).toMatch(/worker 3 was killed while it held the lock: the others wait until its lease expires\n/);
  expect(demo.output).toMatch(/increments {2}87 done, 87 found {2}ok\n/);
  expect(demo.output).toMatch(/overlaps {4}0 in 88 holds {2}ok\n/);
  expect(demo.output).toMatch(/tokens {6}rise from each holder to the next {2}ok\n/);
  expect(demo.output).toMatch(/turns {7}#1 25, #2 25, #3 12 killed, #4 25 {2}ok\n/);
  expect(demo.output).toMatch(/kill {8}the next holder got the lock [\d.]+ s later {2}ok\n/);
  expect(demo.output).toMatch(/waits {7}median .+, p95 .+, max .+\n/);
  expect(demo.output).not.toContain('\x1b');
  expect(code).toBe(0);
  await expectNoProcess(demo.mark);
});

test.skipIf(script === null)('the demo redraws in place in a terminal, and ^C ends all of its processes', { timeout: 60_000 }, async () => {
  const command = `stty cols 60 rows 30; ${process.execPath} examples/demo/demo.ts`;
  await using demo = start(script ?? '', ['-qec', command, '/dev/null'], { TERM: 'xterm', NO_COLOR: '1', FORCE_COLOR: undefined });
  await vi.waitFor(
    () => {
      expect(demo.output).toMatch(/worker \d {2}█+░+ {2}[2-9]\/25/);
    },
    { timeout: 30_000, interval: 50 },
  );
  demo.type('\x03');
  const code = await demo.ended;

  const frames = demo.output.split(/\x1b\[\d+A\r/); // eslint-disable-line no-control-regex
  expect(frames.length).toBeGreaterThan(3);
  for (const label of ['holder', 'value', 'token', 'waiting', 'number']) expect(frames.at(-1)).toMatch(new RegExp(`^ {2}${label} `, 'm'));
  const widest = Math.max(...frames.slice(1).flatMap((frame) => frame.split(/\x1b\[K\r?\n/).map((line) => line.length))); // eslint-disable-line no-control-regex
  expect(widest).toBeLessThan(60);
  expect(demo.output).not.toMatch(/\x1b\[\d*m/); // eslint-disable-line no-control-regex
  expect(demo.output.trimEnd().endsWith('\x1b[?25h')).toBe(true); // the cursor is shown again
  expect(code).toBe(130);
  await expectNoProcess(demo.mark);
});

interface Demo extends AsyncDisposable {
  readonly output: string;
  readonly ended: Promise<number | null>;
  /** A variable in the environment of each process of the demo, etcd included. */
  readonly mark: string;
  type(keys: string): void;
}

function start(file: string, args: readonly string[], env: NodeJS.ProcessEnv): Demo {
  const mark = `DEMO_MARK=${randomUUID()}`;
  const [name = '', value] = mark.split('=');
  const child = spawn(file, args, { cwd: root, env: { ...process.env, ...env, [name]: value } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const ended = once(child, 'close').then(([code]) => code as number | null);
  return {
    mark,
    ended,
    get output() {
      return output;
    },
    type: (keys) => child.stdin.write(keys),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

async function expectNoProcess(mark: string): Promise<void> {
  if (!isLinux) return;
  const processes = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const left: string[] = [];
  for (const pid of processes) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (environment.includes(mark)) left.push(await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => pid));
  }

  expect(left).toEqual([]);
}
