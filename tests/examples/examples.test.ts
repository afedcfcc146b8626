/** Each example, run as a reader of the repository would run it, prints what it says and ends. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { startEtcd } from '../support/etcd/etcd.ts';
import { findOtherNode } from '../support/run/other-nodes.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = join(root, 'examples');
const files = (await readdir(folder)).filter((file) => /\.(ts|cjs|sh)$/.test(file));
const other = await findOtherNode();

const commonjsLines = ['held: true', 'not to be had meanwhile: held by a CommonJS program'];

const lines: Readonly<Record<string, readonly string[]>> = {
  'await-using.ts': [
    'turn 1: held true, alone true, token rose true',
    'turn 2: held true, alone true, token rose true',
    'turn 3: held true, alone true, token rose true',
    'held afterwards: false',
  ],
  'try-lock.ts': ['other: somebody else is at it', 'one: written', 'other, after waiting: got it'],
  'watch.ts': [
    'the master is at http://10.0.0.7:8080',
    'the master is at http://10.0.0.7:9090',
    'there is no master',
    'the master is at http://10.0.0.8:8080',
  ],
  'with-lock.ts': ['total: 42', 'failed: out of stock', 'free again: true', 'while it is held: LOCK_TIMEOUT'],
  'read-write.ts': [
    'two readers at once: true',
    'a writer beside them: not now',
    'the writer writes, alone: true',
    'the late reader reads: true',
  ],
  'web-locks.ts': ['held: settings, exclusive', 'seen elsewhere: settings', 'a second one meanwhile: busy', 'afterwards: shared'],
  'semaphore.ts': ['in use: by one and other', 'a third: all taken', 'after a release: true'],
  'lock-all.ts': ['account/7: 80', 'account/9: 70', 'while one is taken: none', 'afterwards: account/7 and account/9'],
  'ending.ts': [
    'jobs/limited: one',
    'jobs/single: one',
    'jobs/limited: now other, the first lost it: max-hold',
    'jobs/single: now other, the first lost it: expired',
  ],
  'fencing.ts': [
    'the holder writes: done',
    'the next one writes: done',
    'the late one writes: refused',
    'etcd has: by the next',
    'another store takes the next: true, the late one: false',
  ],
  'command.sh': [
    'another one meanwhile: 75',
    'held by: the first',
    'the first ended with: 3',
    'the next has: nightly',
    'names that are held afterwards: 0',
  ],
  'commonjs.cjs': commonjsLines,
};

test('there is an expectation for each example', () => {
  expect(Object.keys(lines).sort()).toEqual(files.sort());
});

test.each(files)('%s prints what it says', async (file) => {
  const { stdout } = await run(process.execPath, ['tests/support/run/run-example.ts', file], { cwd: root });

  expect(stdout.trimEnd().split('\n')).toEqual(lines[file]);
});

test.each(files)('%s has less than 40 lines', async (file) => {
  expect((await readFile(join(folder, file), 'utf8')).split('\n').length).toBeLessThan(40);
});

test.skipIf(other === null)(`commonjs.cjs runs on another Node too (${other?.version ?? 'there is none here'})`, async () => {
  await using etcd = await startEtcd();
  const env = { ...process.env, ETCD_ENDPOINTS: etcd.endpoints.join(',') };
  const { stdout } = await run(other?.file ?? '', ['examples/commonjs.cjs'], { cwd: root, env });

  expect(stdout.trimEnd().split('\n')).toEqual(commonjsLines);
});

test('an unknown name is answered with those there are', async () => {
  const failed = run(process.execPath, ['tests/support/run/run-example.ts', 'nothing'], { cwd: root });

  await expect(failed).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('await-using, command, commonjs') as string });
});
