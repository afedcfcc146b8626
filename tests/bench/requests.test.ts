/** That the benchmark runs and counts right; how long anything takes is not for a test to judge. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { findEtcd } from '../support/etcd/etcd.ts';

const run = promisify(execFile);
const bench = fileURLToPath(new URL('bench.ts', import.meta.url));

// Of a server that others use too one cannot tell whose calls they are.
test.skipIf((await findEtcd()).kind === 'endpoints')('bench prints its tables: a lock and its release are exactly 2 requests', async () => {
  const { stdout } = await run(process.execPath, [bench, '--quick', '--rounds', '1', '--only', 'one', '--no-go']);

  expect(stdout).toMatch(/^workload +etcd-locker +etcd3 Lock +raw floor$/m);
  const [, requests = ''] = stdout.split('Requests to etcd for each');
  expect(requests).toMatch(/^one at a time +2 +3 \+ 1 +2$/m);
  expect(stdout).toMatch(/^one at a time +requests to etcd +exactly 2 +2 \((\d+) for \d+\) +✓$/m);
  expect(stdout).toContain('Go is left out: --no-go');
});

test('bench tells what is wrong with its options, and ends with 1', async () => {
  const ended = run(process.execPath, [bench, '--only', 'nothing']);

  await expect(ended).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('--only takes one, paced, names-16') as string });
});
