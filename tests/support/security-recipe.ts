/** The commands of docs/security.md, run as they are written there. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Etcd3, type IOptions } from 'etcd3';
import { findEtcd, startEtcd, type EtcdServer } from './etcd.ts';
import { expectEmpty, simpleTokens, type User } from './etcd-auth.ts';
import type { ServerTls } from './etcd-server.ts';

const run = promisify(execFile);
const document = fileURLToPath(new URL('../../docs/security.md', import.meta.url));

/** Of the users that have one, by the names that they have in the document. */
export const passwords = { root: 'root-8402', orders: 'sesame-9431', dashboard: 'poppy-5580' };

export const nobody: User = { username: 'nobody', password: 'sesame-9431' };

const source = await findEtcd();
const etcdctl = source.kind === 'binary' ? source.etcdctl : null;
export const canRunRecipe = etcdctl !== null;
if (!canRunRecipe) console.warn('Skipped: the tests with the roles of docs/security.md, as this etcd came without an etcdctl.');

/** All commands of the section, in their order. */
async function recipe(): Promise<string> {
  const [, section = ''] = /^## Roles and users\n([^]*?)^## /m.exec(await readFile(document, 'utf8')) ?? [];
  return [...section.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, commands]) => commands).join('');
}

/**
 * An etcd with authentication turned on as the document says, and beside its users `nobody`, who has no role.
 * In the end no key and no lease may be left on it.
 */
export async function openRecipe(
  rootAt: (endpoint: string) => IOptions,
  tls?: ServerTls,
): Promise<AsyncDisposable & { readonly server: EtcdServer; readonly root: Etcd3 }> {
  const server = await startEtcd({ args: simpleTokens(), ...(tls && { tls }) });
  await runRecipe(server, tls?.mutual);
  const root = new Etcd3(rootAt(server.endpoint));
  await root.user(nobody.username).create(nobody.password);
  return {
    server,
    root,
    async [Symbol.asyncDispose]() {
      await expectEmpty(root);
      root.close();
      await server.stop();
    },
  };
}

/** Turns authentication on at `server`, as the document says; with `tls`, the certificate of the server's authority and of a client. */
async function runRecipe(server: EtcdServer, tls: ServerTls['mutual']): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'recipe-'));
  const file = async (name: string, content: string | Buffer): Promise<string> => {
    await writeFile(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  try {
    for (const [user, password] of Object.entries(passwords)) await file(`${user}.password`, `${password}\n`);
    const certificates = tls && {
      ETCDCTL_CACERT: await file('ca.crt', tls.authority),
      ETCDCTL_CERT: await file('client.crt', tls.client.certificate),
      ETCDCTL_KEY: await file('client.key', tls.client.privateKey),
    };
    const env = {
      PATH: [dirname(etcdctl ?? ''), process.env['PATH']].join(delimiter),
      ETCDCTL_ENDPOINTS: `${tls === undefined ? 'http' : 'https'}://${server.endpoint}`,
      ...certificates,
    };
    await run('sh', ['-e', '-c', await recipe()], { cwd: folder, env });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
