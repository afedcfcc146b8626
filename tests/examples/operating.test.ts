/** Tests that etcd has the metrics and options that docs/operating.md names, and that a restore as it says makes tokens rise. */
import { execFile } from 'node:child_process';
import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { createLocker } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { findEtcd, startEtcd } from '../support/etcd/etcd.ts';
import { blocksOf, readPage } from '../support/run/markdown.ts';

const run = promisify(execFile);
const page = readPage('docs/operating.md');
const commands = blocksOf('docs/operating.md', page).filter(({ language }) => language === 'sh');
const source = await findEtcd();
const folder = source.kind === 'binary' ? dirname(source.etcd) : undefined;
const etcdutl = folder === undefined ? undefined : join(folder, 'etcdutl');
const canRestore =
  etcdutl !== undefined &&
  (await access(etcdutl).then(
    () => true,
    () => false,
  ));
if (!canRestore) console.warn('Skipped: the restore of docs/operating.md, because this etcd has no etcdutl.');

test('each metric of the page is one that etcd has', async () => {
  await using etcd = await startEtcd();
  const metrics = await (await fetch(`http://${etcd.endpoint.replace(/^http:\/\//, '')}/metrics`)).text();
  const named = [...new Set([...page.matchAll(/`(etcd_[a-z_]+)`/g)].map(([, name = '']) => name))];

  expect(named.length).toBeGreaterThan(8);
  expect(named.filter((name) => !metrics.includes(`# TYPE ${name} `))).toEqual([]);
});

test.skipIf(source.kind !== 'binary')('each option of etcd on the page is one that etcd has', async () => {
  const { stdout, stderr } = await run(source.kind === 'binary' ? source.etcd : '', ['--help']);
  const [first] = commands;
  const options = [...(first?.code ?? '').matchAll(/--[a-z-]+/g), ...page.matchAll(/`(--(?:heartbeat|election)[a-z-]+)`/g)].map(
    ([option, name]) => name ?? option,
  );

  expect(options.length).toBeGreaterThan(5);
  expect(options.filter((option) => !`${stdout}${stderr}`.includes(`${option} `))).toEqual([]);
});

describe.skipIf(!canRestore)('the restore of the page', () => {
  test('makes tokens rise over all that were given out since the snapshot', { timeout: 60_000 }, async () => {
    const [, restore = ''] =
      /(etcdutl snapshot restore [^]*?)(?=\n$)/.exec(commands.find(({ code }) => code.includes('restore'))?.code ?? '') ?? [];
    const [, bump = ''] = /--bump-revision (\d+)/.exec(restore) ?? [];
    const data = await mkdtemp(join(tmpdir(), 'restore-'));
    try {
      const before = await lastToken(data);
      const target = join(data, 'restored');
      await run(etcdutl ?? '', [
        'snapshot',
        'restore',
        join(data, 'backup.db'),
        '--data-dir',
        target,
        '--bump-revision',
        bump,
        '--mark-compacted',
      ]);
      await using etcd = await startEtcd({ args: ['--data-dir', target, '--force-new-cluster'] });
      await using locker = createLocker({ hosts: [...etcd.endpoints] });
      await using lock = await locker.lock('a');

      expect(before).toBeGreaterThan(0n);
      expect(lock.fencingToken).toBeGreaterThan(before);
      expect(lock.fencingToken).toBeGreaterThan(BigInt(bump));
    } finally {
      await rm(data, { recursive: true, force: true });
    }
  });
});

/** Takes a snapshot, and locks some more. Returns the last token. */
async function lastToken(data: string): Promise<bigint> {
  await using etcd = await startEtcd();
  await using locker = createLocker({ hosts: [...etcd.endpoints] });
  await locker.withLock('a', () => undefined);
  const etcdctl = join(folder ?? '', 'etcdctl');
  await run(etcdctl, ['--endpoints', etcd.endpoint, 'snapshot', 'save', join(data, 'backup.db')], {
    env: { ...process.env, ETCDCTL_API: '3' },
  });
  let last = 0n;
  for (let turn = 0; turn < 20; turn += 1) last = await locker.withLock('a', ({ fencingToken }) => fencingToken);
  return last;
}
