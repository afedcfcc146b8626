/** Tests that the store rejects the write of a process that was frozen for longer than its TTL. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Etcd3 } from 'etcd3';
import { describe, expect, test } from 'vitest';
import { startEtcd } from '../support/etcd/etcd.ts';
import { startPostgres } from '../support/postgres/postgres.ts';
import { startExample } from '../support/run/examples.ts';

/** Freezes the holder until the next process has written, then wakes it. Returns the last page of the next process. */
async function freezeHolder(file: string, env: NodeJS.ProcessEnv): Promise<number> {
  await using frozen = startExample(file, [], env);
  await frozen.reached('wrote page 2');
  await using next = startExample(file, [], env);
  frozen.signal('SIGSTOP');
  await next.reached('wrote page 1'); // after the TTL
  frozen.signal('SIGCONT');
  await frozen.reached(/^rejected page \d+/);

  expect(frozen.steps.filter(({ step }) => step.startsWith('rejected'))).toHaveLength(1);
  expect(await frozen.ended).toMatchObject({ code: 0 });
  expect(await next.ended).toMatchObject({ code: 0 });
  expect(next.steps.at(-1)?.step).toBe('wrote page 10');
  return next.pid;
}

describe.concurrent('a frozen holder wakes up after its TTL, and its write is rejected', { timeout: 60_000 }, () => {
  test('by the guard in etcd', async () => {
    await using etcd = await startEtcd();
    const pid = await freezeHolder('zombie-etcd.ts', { ETCD_ENDPOINTS: etcd.endpoints.join(',') });

    const client = new Etcd3({ hosts: [...etcd.endpoints] });
    const text = await client.get('report').string();
    client.close();
    expect(text).toBe(`page 10 by ${String(pid)}`);
  });

  test('by the fencing token in SQLite', async () => {
    await using etcd = await startEtcd();
    const folder = await mkdtemp(join(tmpdir(), 'zombie-'));
    const file = join(folder, 'reports.db');
    const pid = await freezeHolder('zombie-sqlite.ts', { ETCD_ENDPOINTS: etcd.endpoints.join(','), DATABASE: file });

    const database = new DatabaseSync(file);
    const row = database.prepare('SELECT text FROM reports').get();
    database.close();
    await rm(folder, { recursive: true });
    expect(row?.['text']).toBe(`page 10 by ${String(pid)}`);
  });

  test('by the fencing token in PostgreSQL', async () => {
    await using etcd = await startEtcd();
    await using postgres = await startPostgres();
    const pid = await freezeHolder('zombie-postgres.ts', { ETCD_ENDPOINTS: etcd.endpoints.join(','), ...postgres.env });

    expect(await postgres.query('SELECT text FROM reports')).toEqual([{ text: `page 10 by ${String(pid)}` }]);
  });
});
