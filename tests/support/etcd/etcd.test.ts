/** Tests the search for an etcd, and the start and control of servers and clusters. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { ask, isHealthy } from './http.ts';
import { etcdFromModules } from './modules.ts';
import { searchEtcd, ways, type SearchEnv, type Ways } from './source.ts';
import { canControlServers, describeEtcd, findEtcd, hungHost, startCluster, startEtcd, type EtcdCluster } from './etcd.ts';
import { freePorts } from '../network/ports.ts';

const canControl = await canControlServers();
const timeout = 30_000; // for a busy machine

describe('searchEtcd()', () => {
  const empty = mkdtempSync(join(tmpdir(), 'etcd-none-'));
  afterAll(() => {
    rmSync(empty, { recursive: true });
  });
  const withoutEngine: Ways = { ...ways, docker: () => Promise.reject(new Error('no container engine')) };
  const search = (env: SearchEnv) => searchEtcd({ env: { PATH: empty, ...env }, cacheDir: empty }, withoutEngine);

  test('lists each way with the reason why it found no etcd', async () => {
    const message = await search({}).then(describeEtcd, String);

    expect(message).toContain('endpoints: ETCD_ENDPOINTS is not set');
    expect(message).toContain('binary: ETCD_BINARY is not set');
    expect(message).toContain('path: no etcd is on PATH');
    expect(message).toContain(`cache: no etcd in ${empty} runs`);
    expect(message).toContain('docker: no container engine');
    expect(message).toMatch(/apt: .*(apt-get is not on PATH|neither Debian nor Ubuntu)/);
  });

  test.each(['endpoints', 'binary', 'path', 'cache', 'docker', 'apt'])('tries only %s when ETCD_SOURCE names it', async (name) => {
    const message = await search({ ETCD_SOURCE: name }).then(describeEtcd, String);

    expect(message.match(/^ {2}- \w+/gm)).toEqual([`  - ${name}`]);
  });

  test('rejects an unknown ETCD_SOURCE', async () => {
    await expect(search({ ETCD_SOURCE: 'podman' })).rejects.toThrow(/must be one of .*: it is 'podman'/);
  });

  test('does not replace an ETCD_ENDPOINTS or ETCD_BINARY that does not work', async () => {
    const [port = 0] = await freePorts(1);

    await expect(search({ ETCD_ENDPOINTS: `127.0.0.1:${String(port)}` })).rejects.toThrow(/Tried:\n {2}- endpoints: .*\nSet/);
    await expect(search({ ETCD_BINARY: join(empty, 'etcd') })).rejects.toThrow(/Tried:\n {2}- binary: .*does not run.*\nSet/);
  });

  test('uses ETCD_ENDPOINTS when a server responds there', async () => {
    const endpoints = inject('etcdEndpoints');

    const source = await search({ ETCD_ENDPOINTS: endpoints.map((endpoint) => `http://${endpoint}/`).join(' , ') });

    expect(source).toEqual({ kind: 'endpoints', endpoints, version: inject('etcdVersion') });
  });
});

describe('etcdFromModules()', () => {
  const cacheDir = mkdtempSync(join(tmpdir(), 'etcd-built-'));
  afterAll(() => {
    rmSync(cacheDir, { recursive: true });
  });

  test('uses a build in the cache without go, and the search for an etcd does not use it', async () => {
    const etcd = join(cacheDir, '9.8.7', 'etcd');
    mkdirSync(join(cacheDir, '9.8.7'));
    writeFileSync(etcd, '#!/bin/sh\necho etcd Version: 9.8.7\n', { mode: 0o755 });

    expect(await etcdFromModules({ cacheDir, path: cacheDir, version: '9.8.7' })).toEqual({ etcd, etcdctl: null, version: '9.8.7' });
    await expect(searchEtcd({ env: { PATH: cacheDir, ETCD_SOURCE: 'cache' }, cacheDir })).rejects.toThrow(`no etcd in ${cacheDir} runs`);
  });

  test('rejects without go, and leaves nothing in the cache', async () => {
    const building = etcdFromModules({ cacheDir, path: cacheDir, version: '3.7.3' });

    await expect(building).rejects.toThrow('Cannot build etcd 3.7.3 from Go modules (3.5 or newer): go is not on PATH');
    expect(existsSync(join(cacheDir, '3.7.3'))).toBe(false);
    expect(readdirSync(cacheDir).filter((name) => name.startsWith('.'))).toEqual([]);
  });
});

describe('startEtcd()', { timeout }, () => {
  test('starts a healthy server of the version that was found', async () => {
    await using server = await startEtcd();

    expect(await isHealthy(server.endpoint)).toBe(true);
    expect(server.version).toBe((await findEtcd()).version);
    expect(server.source).toContain(server.version);
    expect(await server.metrics()).toContain('etcd_debugging_mvcc_keys_total');
  });

  test.runIf(canControl)('stop() leaves no process behind, frozen or not', async () => {
    const server = await startEtcd();
    const pid = server.members[0]?.pid ?? Number.NaN;
    await server.members[0]?.freeze();

    await server.stop();
    await server.stop();

    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(server.members[0]?.pid).toBeUndefined();
  });

  test.runIf(canControl)('leaves no server behind when its process ends without stop()', async () => {
    const script = `
      import { startEtcd } from ${JSON.stringify(new URL('etcd.ts', import.meta.url).href)};
      console.log((await startEtcd()).endpoint);
      process.exit();`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);

    expect(stdout).toMatch(/^127\.0\.0\.1:\d+\n$/);
    expect(await isHealthy(stdout.trim())).toBe(false);
  });
});

describe.runIf(canControl)('startCluster()', { timeout }, () => {
  let cluster: EtcdCluster;
  beforeAll(async () => {
    cluster = await startCluster(3, { heartbeatMs: 50, electionMs: 500 });
  }, timeout);
  afterAll(() => cluster.stop());

  test('starts three members, one of which is the leader', async () => {
    expect(new Set(cluster.endpoints).size).toBe(3);
    expect(cluster.members).toContain(await cluster.leader());
  });

  test('freeze() stops the responses of a member, and thaw() wakes it with its data', async () => {
    const leader = await cluster.leader();

    await leader.freeze();
    await expect(ask(leader.endpoint, '/version', { timeoutMs: 200 })).rejects.toThrow();
    expect(await cluster.leader()).not.toBe(leader);
    leader.thaw();

    await expect.poll(() => isHealthy(leader.endpoint), { timeout: 15_000 }).toBe(true);
  });

  test.each(['kill', 'terminate'] as const)('start() brings a member back after %s()', async (end) => {
    const leader = await cluster.leader();
    const { pid } = leader;

    await leader[end]();
    expect(leader.pid).toBeUndefined();
    expect(await cluster.leader()).not.toBe(leader);
    await leader.start();

    expect(leader.pid).not.toBe(pid);
    expect(await isHealthy(leader.endpoint)).toBe(true);
  });
});

test.runIf(canControl)('isolate() cuts a member off from the others, and rejoin() reconnects it', { timeout }, async () => {
  await using cluster = await startCluster(3, { heartbeatMs: 50, electionMs: 500, isolable: true });
  const leader = await cluster.leader();

  await cluster.isolate(leader);
  await expect.poll(async () => (await cluster.leader()) === leader, { timeout: 10_000 }).toBe(false);
  await expect.poll(() => isHealthy(leader.endpoint), { timeout: 10_000 }).toBe(false);
  const others = cluster.members.filter((member) => member !== leader);
  expect(await Promise.all(others.map(({ endpoint }) => isHealthy(endpoint)))).toEqual([true, true]);

  cluster.rejoin();
  await expect.poll(() => isHealthy(leader.endpoint), { timeout: 15_000 }).toBe(true);
});

test.runIf(canControl)('startEtcd() rejects when another server listens on its port', { timeout }, async () => {
  await using server = await startEtcd();

  await expect(startEtcd({ port: Number(server.endpoint.split(':')[1]) })).rejects.toThrow('address already in use');
});

test.runIf(canControl)('startEtcd() rejects with the output of etcd when it does not start', async () => {
  await expect(startEtcd({ args: ['--no-such-flag'] })).rejects.toThrow(/ended with \d+: .*no-such-flag/s);
});

test('hungHost() accepts a connection and does not respond', async () => {
  await using host = await hungHost();

  const outcome = ask(host.endpoint, '/version', { timeoutMs: 100 }).then(
    () => 'answered',
    () => 'timed out',
  );

  expect(await Promise.race([outcome, sleep(50, 'waiting')])).toBe('waiting');
  expect(await outcome).toBe('timed out');
});
