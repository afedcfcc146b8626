/** Tests that each example ends and prints the expected lines. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { startEtcd } from '../support/etcd/etcd.ts';
import { findOtherNode } from '../support/run/other-nodes.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = join(root, 'examples');
/** The examples that other test files run, in processes of their own. */
const ofSeveralProcesses = [
  ...['batch.ts', 'cache.ts', 'health-mesh.ts', 'migration.ts', 'name-server.ts', 'transfer.ts', 'worker-pool.ts'], // processes.test.ts
  ...['graceful-shutdown.ts', 'leader.ts'], // test files of their names
  ...['zombie-etcd.ts', 'zombie-postgres.ts', 'zombie-sqlite.ts'], // zombie.test.ts
];
const all = (await readdir(folder)).filter((file) => /\.(ts|cjs|sh)$/.test(file));
const files = all.filter((file) => !ofSeveralProcesses.includes(file));
const other = await findOtherNode();

const commonjsLines = ['held: true', 'busy: held by a CommonJS program'];

const lines: Readonly<Record<string, readonly string[]>> = {
  'await-using.ts': [
    'turn 1: held true, alone true, token rose true',
    'turn 2: held true, alone true, token rose true',
    'turn 3: held true, alone true, token rose true',
    'held afterwards: false',
  ],
  'try-lock.ts': ['other: skipped, another process writes it', 'one: written', 'other, after waiting: held'],
  'watch.ts': [
    'the master is at http://10.0.0.7:8080',
    'the master is at http://10.0.0.7:9090',
    'there is no master',
    'the master is at http://10.0.0.8:8080',
  ],
  'with-lock.ts': ['total: 42', 'failed: out of stock', 'free again: true', 'while it is held: LOCK_TIMEOUT'],
  'read-write.ts': [
    'two readers at once: true',
    'a writer at the same time: busy',
    'the writer holds it alone: true',
    'the last reader holds it: true',
  ],
  'web-locks.ts': [
    'held: settings, exclusive',
    'the other machine sees: settings',
    'a second request at the same time: busy',
    'afterwards: shared',
  ],
  'semaphore.ts': ['in use: by one and other', 'a third: busy', 'after a release: true'],
  'lock-all.ts': ['account/7: 80', 'account/9: 70', 'while one is held: none', 'afterwards: account/7 and account/9'],
  'ending.ts': [
    'jobs/limited: one',
    'jobs/single: one',
    'jobs/limited: now held by other, lost by one: max-hold',
    'jobs/single: now held by other, lost by one: expired',
  ],
  'fencing.ts': [
    'the holder writes: done',
    'the next holder writes: done',
    'the paused process writes: rejected',
    'etcd stores: by the next',
    'another store accepts the next holder: true, the paused process: false',
  ],
  'scheduled-job.ts': [1, 2, 3].map((tick) => `tick ${String(tick)}: 1 of 3 machines ran the job`),
  'command.sh': [
    'a second command exits with: 75',
    'the holder is: the first',
    'the first command exited with: 3',
    'the next command holds: nightly',
    'names held at the end: 0',
  ],
  'backup.sh': [
    'backup: written under the lock backups/db',
    'done',
    'not made: another machine makes it, or the lock was lost',
    'not made: another machine makes it, or the lock was lost',
    'not made: etcd is unreachable',
    'held by: host-7: hangs',
    'the hanging backup exited with: 75',
    'backup: written under the lock backups/db',
    'done',
    'free again',
  ],
  'commonjs.cjs': commonjsLines,
};

test('each example has expected lines', () => {
  expect(Object.keys(lines).sort()).toEqual(files.sort());
  expect(ofSeveralProcesses.filter((file) => !all.includes(file))).toEqual([]);
});

test.each(files)('%s prints its expected lines', async (file) => {
  const { stdout } = await run(process.execPath, ['tests/support/run/run-example.ts', file], { cwd: root });

  expect(stdout.trimEnd().split('\n')).toEqual(lines[file]);
});

test.each(all)('%s has at most 40 lines', async (file) => {
  expect((await readFile(join(folder, file), 'utf8')).trimEnd().split('\n').length).toBeLessThanOrEqual(40);
});

test('each example says how to install the packages that it imports', async () => {
  const paths = (await readdir(folder, { recursive: true })).filter((path) => /\.ts$/.test(path) && !path.startsWith('demo/'));
  const missing: string[] = [];
  for (const path of paths) {
    // The files of a folder belong to one example.
    const siblings = paths.filter((one) => one === path || (path.includes('/') && dirname(one) === dirname(path)));
    const texts = await Promise.all(siblings.map((one) => readFile(join(folder, one), 'utf8')));
    const installed = texts.flatMap((text) => [...text.matchAll(/npm i ([\w@/ -]+)/g)].flatMap(([, names = '']) => names.split(' ')));
    const code = await readFile(join(folder, path), 'utf8');
    for (const [, name = ''] of code.matchAll(/^(?:import |import .* from |} from )'([^.'][^']*)'/gm)) {
      if (!/^(node:|etcd-locker)/.test(name) && !installed.includes(name)) missing.push(`${path}: ${name}`);
    }
    if (/from '\.\.\//.test(code)) missing.push(`${path}: a file outside of the examples`);
  }

  expect(missing).toEqual([]);
  expect(paths.length).toBeGreaterThan(20);
});

test('docs/recipes.md has a recipe for each example of several processes', async () => {
  const page = await readFile(join(root, 'docs', 'recipes.md'), 'utf8');

  expect(ofSeveralProcesses.filter((file) => !page.includes(`(../examples/${file})`))).toEqual([]);
});

test.skipIf(other === null)(`commonjs.cjs runs on another version of Node (${other?.version ?? 'none found'})`, async () => {
  await using etcd = await startEtcd();
  const env = { ...process.env, ETCD_ENDPOINTS: etcd.endpoints.join(',') };
  const { stdout } = await run(other?.file ?? '', ['examples/commonjs.cjs'], { cwd: root, env });

  expect(stdout.trimEnd().split('\n')).toEqual(commonjsLines);
});

test('an unknown name exits with 2 and lists the examples', async () => {
  const failed = run(process.execPath, ['tests/support/run/run-example.ts', 'nothing'], { cwd: root });

  await expect(failed).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('command, commonjs') as string });
});
