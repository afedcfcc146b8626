/** Tests TLS, users and permissions, given by options and by the variables of `etcdctl`. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Etcd3 } from 'etcd3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeAuthority } from '../support/fixtures/certificates.ts';
import { canControlServers, startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { eventually } from '../support/fixtures/etcd-stage.ts';
import { clientOf } from '../support/fixtures/security-stage.ts';
import { listener, outcome, start } from '../cli/command.ts';

const password = 'sesame-9431';
const authority = makeAuthority('test CA');
const client = authority.issue({ commonName: 'nobody' });

describe.skipIf(!(await canControlServers()))('etcd-locker with TLS, client certificates and users', { timeout: 60_000 }, () => {
  let folder: string;
  let server: EtcdServer;
  let root: Etcd3;
  let files: Record<'ca' | 'other' | 'cert' | 'key' | 'password', string>;
  let env: Record<string, string>;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cli-'));
    const contents = {
      ca: authority.certificate,
      other: makeAuthority('another CA').certificate,
      cert: client.certificate,
      key: client.privateKey,
      password: `${password}\n`,
    };
    files = { ca: '', other: '', cert: '', key: '', password: '' };
    for (const [name, content] of Object.entries(contents)) {
      files[name as keyof typeof files] = join(folder, name);
      await writeFile(join(folder, name), content, { mode: 0o600 });
    }
    const mutual = { authority: authority.certificate, client };
    server = await startEtcd({ tls: { server: authority.issue({ commonName: 'server' }), mutual }, args: ['--bcrypt-cost', '4'] });
    const credentials = { rootCertificate: authority.certificate, ...clientOf(client) };
    const setUp = new Etcd3({ hosts: `https://${server.endpoint}`, credentials });
    await setUp.user('root').create('root-8402');
    await setUp.user('root').addRole('root');
    await setUp.role('locker').create();
    const range = { start: Buffer.from('locks/'), end: Buffer.from('locks0') };
    await setUp.role('locker').grant({ permission: 'Readwrite', range: range as never });
    await setUp.user('locker').create(password);
    await setUp.user('locker').addRole('locker');
    await setUp.auth.authEnable();
    setUp.close();
    root = new Etcd3({ hosts: `https://${server.endpoint}`, credentials, auth: { username: 'root', password: 'root-8402' } });
    env = {
      ETCDCTL_ENDPOINTS: `https://${server.endpoint}`,
      ETCDCTL_CACERT: files.ca,
      ETCDCTL_CERT: files.cert,
      ETCDCTL_KEY: files.key,
      ETCDCTL_USER: 'locker',
      ETCDCTL_PASSWORD: password,
    };
  });
  afterAll(async () => {
    await eventually(async () => {
      expect(await root.getAll().keys()).toEqual([]);
      expect((await root.leaseClient.leaseLeases()).leases).toEqual([]);
    });
    root.close();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test('connects with TLS and a user given by options', async () => {
    const tls = ['--cacert', files.ca, '--cert', files.cert, '--key', files.key];
    const user = ['--user', 'locker', '--password-file', files.password];

    expect(await outcome(['--hosts', server.endpoint, ...tls, ...user, 'options', '--', 'echo', 'done'])).toEqual({
      code: 0,
      signal: null,
      stdout: 'done\n',
      stderr: '',
    });
  });

  test('connects with TLS and a user given by variables, and no command line shows the password', async () => {
    const child = start(['--verbose', 'variables', ...listener()], env);
    await child.reached(/^working/);

    const { code, stdout, stderr } = await outcome(['inspect', 'variables'], env);
    const seen = await commandLines();

    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^variables is held.*\n\nPLACE .*\nholds /);
    child.signal('SIGTERM');
    const ended = await child.ended;
    expect(ended.code).toBe(0);
    expect(ended.stderr).not.toContain(password);
    if (process.platform === 'linux') expect(seen).toContain('variables');
    expect(seen).not.toContain(password);
  });

  const all = [['x', '--', 'true'], ['inspect', 'x'], ['list'], ['watch', 'x']];
  const two = all.slice(0, 2);

  test.each<[problem: string, forms: string[][], env: () => Record<string, string>, message: RegExp]>([
    ['the password is wrong', all, () => ({ ETCDCTL_PASSWORD: 'poppy-5580' }), /authentication failed.*the option --user needs/],
    ['no user is given', two, () => ({ ETCDCTL_USER: '', ETCDCTL_PASSWORD: '' }), /user name is empty|permission denied/],
    ['another authority signed the certificate of etcd', two, () => ({ ETCDCTL_CACERT: files.other }), /not of an authority in --cacert/],
    ['no client certificate is given', two, () => ({ ETCDCTL_CERT: '', ETCDCTL_KEY: '' }), /set --key and --cert/],
  ])('exits with 77 and one line if %s', async (_, forms, variables, message) => {
    const outcomes = await Promise.all(forms.map((words) => outcome(words, { ...env, ...variables() })));

    for (const { code, stdout, stderr } of outcomes) {
      expect({ code, stderr }).toEqual({ code: 77, stderr: expect.stringMatching(/^etcd-locker: [^\n]+\n$/) as string });
      expect(stderr).toMatch(message);
      expect(stdout + stderr).not.toMatch(/sesame-9431|poppy-5580/);
    }
  });

  test('exits with 77 and one line that names the prefix if the user has no permission for it', async () => {
    const outcomes = await Promise.all(all.map((words) => outcome(['--prefix', 'others/', ...words], env)));

    for (const { code, stderr } of outcomes) {
      expect({ code, stderr }).toEqual({ code: 77, stderr: expect.stringMatching(/^etcd-locker: [^\n]*"others\/"[^\n]*\n$/) as string });
    }
  });

  test('--verbose does not print a wrong password', async () => {
    const { code, stderr } = await outcome(['--verbose', 'inspect', 'x'], { ...env, ETCDCTL_PASSWORD: 'poppy-5580' });

    expect(code).toBe(77);
    expect(stderr).not.toContain('poppy-5580');
  });
});

test.skipIf(!(await canControlServers()))('etcd-locker connects without a client certificate if etcd requires none', async () => {
  await using server = await startEtcd({ tls: { server: authority.issue({ commonName: 'server' }) } });
  const folder = await mkdtemp(join(tmpdir(), 'cli-'));
  try {
    await writeFile(join(folder, 'ca'), authority.certificate);
    const host = ['--hosts', `https://${server.endpoint}`];

    expect(await outcome([...host, '--cacert', join(folder, 'ca'), 'x', '--', 'echo', 'done'])).toMatchObject({
      code: 0,
      stdout: 'done\n',
    });
    expect(await outcome([...host, 'x', '--', 'true'])).toMatchObject({
      code: 77,
      stderr: expect.stringMatching(/^etcd-locker: [^\n]*--cacert[^\n]*\n$/) as string,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

/** Returns the command lines of all processes, or an empty text if the system has no /proc. */
async function commandLines(): Promise<string> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  // A process may have ended since the folder was read.
  const lines = await Promise.all(pids.map((pid) => readFile(join('/proc', pid, 'cmdline'), 'utf8').catch(() => '')));
  return lines.join('\n');
}
