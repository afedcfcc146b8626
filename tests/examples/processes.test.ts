/** Tests the examples that run in several processes at once: each process is started as a user would start it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLocker } from 'etcd-locker';
import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startEtcd, startTcpProxy, type EtcdServer } from '../support/etcd/etcd.ts';
import { eventually } from '../support/fixtures/etcd-stage.ts';
import { startExample } from '../support/run/examples.ts';
import type { TestProcess } from '../support/run/processes.ts';

let etcd: EtcdServer;
let etcdClient: Etcd3;
let folder: string;

beforeAll(async () => {
  etcd = await startEtcd();
  etcdClient = new Etcd3({ hosts: [...etcd.endpoints] });
  folder = await mkdtemp(join(tmpdir(), 'examples-'));
});

beforeEach(async () => {
  await etcdClient.delete().key('schema-version');
});

afterAll(async () => {
  etcdClient.close();
  await etcd.stop();
  await rm(folder, { recursive: true });
});

const start = (file: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): TestProcess =>
  startExample(file, args, { ETCD_ENDPOINTS: etcd.endpoints.join(','), ...env });

const textOf = ({ steps }: TestProcess): string[] => steps.map(({ step }) => step);

/** Starts the example in `count` processes, waits for all of them, and returns the lines of each. */
async function runAll(file: string, count: number, env?: NodeJS.ProcessEnv): Promise<string[][]> {
  await using processes = new AsyncDisposableStack();
  const all = Array.from({ length: count }, () => processes.use(start(file, [], env)));
  for (const one of all) expect(await one.ended).toMatchObject({ code: 0 });
  return all.map(textOf);
}

test('worker-pool.ts runs two jobs at a time over all processes, never three', async () => {
  const lines = (await runAll('worker-pool.ts', 3)).flat();
  // At the same millisecond, an end comes first: it was printed before the release.
  const events = lines
    .map((line) => line.split(' '))
    .sort(([a = '', x = ''], [b = '', y = '']) => a.localeCompare(b) || y.localeCompare(x));
  const running: number[] = [];
  let now = 0;
  for (const [, what] of events) running.push((now += what === 'begin' ? 1 : -1));

  expect(lines).toHaveLength(24);
  expect(Math.max(...running)).toBe(2);
});

describe('migration.ts', () => {
  const steps = ['create the table', 'copy the rows', 'add the index'];

  test('migrates in exactly one of the replicas that start at once', async () => {
    const lines = await runAll('migration.ts', 4);
    const work = lines.filter((one) => one.length > 1);

    expect(work).toEqual([[...steps.flatMap((step) => [`begin: ${step}`, `done: ${step}`]), 'the schema is up to date']]);
    for (const one of lines) expect(one.at(-1)).toBe('the schema is up to date');
  });

  test('goes on in another replica after a crash in the middle, at the step that was not done', async () => {
    await using processes = new AsyncDisposableStack();
    const replicas = Array.from({ length: 3 }, () => processes.use(start('migration.ts')));
    let crashed: TestProcess | undefined;
    await eventually(() => {
      crashed = replicas.find((replica) => textOf(replica).includes('begin: copy the rows'));
      expect(crashed).toBeDefined();
    });
    crashed?.signal('SIGKILL');
    const others = replicas.filter((replica) => replica !== crashed);
    for (const other of others) expect(await other.ended).toMatchObject({ code: 0 });

    const work = steps.slice(1).flatMap((step) => [`begin: ${step}`, `done: ${step}`]);
    expect(others.map(textOf).sort((a, b) => a.length - b.length)).toEqual([
      ['the schema is up to date'],
      [...work, 'the schema is up to date'],
    ]);
    expect(await etcdClient.get('schema-version').string()).toBe('3');
  });

  test('gives up with 75 if another replica still migrates after timeoutMs', async () => {
    await using locker = createLocker({ hosts: etcd.endpoints, value: 'replica-1' });
    await using lock = await locker.lock('migration');
    await using replica = start('migration.ts', [], { MIGRATION_TIMEOUT_MS: '300' });

    expect(await replica.ended).toMatchObject({ code: 75 });
    expect(textOf(replica)).toEqual(['gave up: replica-1 still migrates']);
    lock.throwIfLost();
  });
});

describe('batch.ts', () => {
  const rows = Array.from({ length: 12 }, (_, index) => `did ${String(index + 1)}`);

  test('lets another process in after the row that it works on, and goes on where it stopped', async () => {
    await using locker = createLocker({ hosts: etcd.endpoints });
    await using batch = start('batch.ts', [], { DATABASE: join(folder, 'batch.db') });
    const done = (): number => textOf(batch).filter((line) => line.startsWith('did ')).length;
    await eventually(() => {
      expect(done()).toBeGreaterThanOrEqual(3);
    });
    const before = done();

    const lock = await locker.lock('invoices');
    // The row during which this process came, and one more if it came at the end of a row.
    expect(done()).toBeLessThanOrEqual(before + 2);
    await sleep(400);
    const meanwhile = done();
    expect(meanwhile).toBeLessThanOrEqual(before + 2);
    await lock.release();

    expect(await batch.ended).toMatchObject({ code: 0, stderr: '' });
    expect(meanwhile).toBeLessThan(rows.length);
    expect(textOf(batch)).toEqual([...rows.slice(0, meanwhile), 'yielded', ...rows.slice(meanwhile), 'all are done']);
  });

  test('does each row once when three processes work, which take turns row by row', async () => {
    await using locker = createLocker({ hosts: etcd.endpoints });
    const lock = await locker.lock('invoices');
    const ended = runAll('batch.ts', 3, { DATABASE: join(folder, 'batches.db') });
    await eventually(async () => {
      expect(await locker.inspect('invoices')).toMatchObject({ waiting: 3 });
    });
    await lock.release(); // all of them wait now
    const lines = await ended;
    const done = lines.map((one) => one.filter((line) => line.startsWith('did ')));

    expect(done.flat().sort()).toEqual([...rows].sort());
    for (const one of lines) expect(one.at(-1)).toBe('all are done');
    for (const one of done) expect(one.length).toBeGreaterThanOrEqual(2);
  });
});

test('transfer.ts loses no money in three processes', async () => {
  const file = join(folder, 'accounts.db');
  const lines = await runAll('transfer.ts', 3, { DATABASE: file });

  for (const one of lines) expect(one).toEqual(['30 transfers done, the total is 300']);
  const database = new DatabaseSync(file);
  const accounts = database.prepare('SELECT balance, fence FROM accounts').all();
  database.close();
  expect(accounts).toHaveLength(3);
  for (const { fence } of accounts) expect(fence).toBeGreaterThan(0);
});

test('transfer.ts fails if a later holder has written to an account', async () => {
  const file = join(folder, 'later.db');
  const database = new DatabaseSync(file);
  database.exec('CREATE TABLE accounts (id TEXT PRIMARY KEY, balance INTEGER, fence INTEGER)');
  database.exec("INSERT INTO accounts VALUES ('alice', 100, 0), ('bob', 100, 9000000000), ('carol', 100, 0)");
  await using fenced = start('transfer.ts', [], { DATABASE: file });
  const { code, stderr } = await fenced.ended;
  const accounts = database.prepare('SELECT balance FROM accounts ORDER BY id').all();
  database.close();

  expect(code).toBe(1);
  expect(stderr).toMatch(/Cannot transfer from \w+ to \w+: a later holder has written/);
  expect(accounts.reduce((sum, { balance }) => sum + Number(balance), 0)).toBe(300);
  expect(accounts[1]).toEqual({ balance: 100 });
});

describe('cache.ts', () => {
  test('loads once for all processes that miss at the same time', async () => {
    await using locker = createLocker({ hosts: etcd.endpoints });
    const lock = await locker.lock('cache/rates');
    const ended = runAll('cache.ts', 4, { CACHE: join(folder, 'rates') });
    await eventually(async () => {
      expect(await locker.inspect('cache/rates')).toMatchObject({ waiting: 4 });
    });
    await lock.release(); // all of them read now, before one of them loads
    const lines = await ended;

    expect(lines.flat().filter((line) => line === 'loads the rates')).toHaveLength(1);
    expect(new Set(lines.map((one) => one.at(-1)))).toHaveLength(1);
  });

  test('reads together with other readers, and waits for a writer', async () => {
    const cache = join(folder, 'shared');
    const [[, loaded] = []] = await runAll('cache.ts', 1, { CACHE: cache });
    await using locker = createLocker({ hosts: etcd.endpoints });
    const reading = await locker.lock('cache/rates', { mode: 'shared' });
    expect(await runAll('cache.ts', 1, { CACHE: cache })).toEqual([[loaded]]);
    await reading.release();
    const writing = await locker.lock('cache/rates');
    await using reader = start('cache.ts', [], { CACHE: cache });
    await eventually(async () => {
      expect(await locker.inspect('cache/rates')).toMatchObject({ waiting: 1 });
    });
    expect(textOf(reader)).toEqual([]);
    await writing.release();

    expect(await reader.ended).toMatchObject({ code: 0 });
    expect(textOf(reader).at(-1)).toMatch(/^rates: /);
  });

  test('counts half a file as a miss', async () => {
    const cache = join(folder, 'rates');
    await writeFile(join(cache, 'rates.json'), '{"rates":0.5,"load');
    const [lines = []] = await runAll('cache.ts', 1, { CACHE: cache });

    expect(lines[0]).toBe('loads the rates');
  });
});

/** Follows the lines of a process. Each call waits for the next line that it has not returned yet. */
function linesOf(process: TestProcess): () => Promise<string> {
  let read = 0;
  return async () => {
    await eventually(() => {
      expect(process.steps.length).toBeGreaterThan(read);
    });
    return process.steps[read++]?.step ?? '';
  };
}

describe('name-server.ts', () => {
  test('a client follows the address of a service, over a killed service to its successor', async () => {
    await using client = start('name-server.ts', ['mail']);
    const next = linesOf(client);
    expect(await next()).toBe('mail: nowhere');
    await using first = start('name-server.ts', ['mail', 'http://10.0.0.7:8080']);
    expect(await next()).toBe('mail: http://10.0.0.7:8080');
    await using second = start('name-server.ts', ['mail', 'http://10.0.0.8:8080']);
    await eventually(async () => {
      expect(await etcdClient.getAll().prefix('locks/services%2Fmail/').count()).toBe(2);
    });
    first.signal('SIGKILL');
    expect(await next()).toBe('mail: http://10.0.0.8:8080');
    second.signal('SIGTERM');
    expect(await next()).toBe('mail: nowhere');

    expect(await second.ended).toMatchObject({ code: 0, stderr: '' });
    client.signal('SIGTERM');
    expect(await client.ended).toMatchObject({ code: 0, stderr: '' });
  });

  test('a client says when etcd is silent, and when the address is certain again', async () => {
    await using locker = createLocker({ hosts: etcd.endpoints });
    await using lock = await locker.lock('services/web', { value: 'http://10.0.0.9:8080' });
    await using proxy = await startTcpProxy(etcd.endpoint);
    await using client = start('name-server.ts', ['web'], { ETCD_ENDPOINTS: proxy.endpoint });
    const next = linesOf(client);
    expect(await next()).toBe(`web: ${lock.value}`);
    await proxy.cut();
    expect(await next()).toBe('etcd is silent, the address may be old');
    await proxy.restore();
    expect(await next()).toBe(`web: ${lock.value}`);
  });
});

test('health-mesh.ts says who comes, who is killed, who ends, and who is unhealthy', async () => {
  await using orders = start('health-mesh.ts', ['orders']);
  const next = linesOf(orders);
  await using payments = start('health-mesh.ts', ['payments']);
  expect(await next()).toBe('mesh/payments is here');
  await using mail = start('health-mesh.ts', ['mail']);
  expect(await next()).toBe('mesh/mail is here');
  payments.signal('SIGKILL');
  expect(await next()).toBe('mesh/payments has left');
  await using restarted = start('health-mesh.ts', ['payments']);
  expect(await next()).toBe('mesh/payments is here');
  const leftAt = performance.now();
  mail.signal('SIGTERM');
  expect(await next()).toBe('mesh/mail has left');
  expect(performance.now() - leftAt).toBeLessThan(2_000); // at once: well before the TTL of 3 s
  expect(await mail.ended).toMatchObject({ code: 0, stderr: '' });
  restarted.signal('SIGUSR2');
  expect(await next()).toBe('mesh/payments has left');
  restarted.signal('SIGUSR2');
  expect(await next()).toBe('mesh/payments is here');
  expect(textOf(restarted)).toContain('mesh/orders is here');
});
