/** Authentication on an etcd that a test has started: users, their rights, and the kinds of tokens. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Etcd3, type IOptions } from 'etcd3';
import { expect } from 'vitest';
import { eventually } from '../fixtures/etcd-stage.ts';

export interface User {
  readonly username: string;
  readonly password: string;
}

/** Keys that may be read and written: all that begin with a prefix, or from one key up to before another. */
export type Right = string | { readonly from: string; readonly to: string };

/** There is always one, who may do everything. */
export const root: User = { username: 'root', password: 'root-8402' };

/** Makes users, each with a role of the same name where it has rights, and turns authentication on. */
export async function enableAuth(server: IOptions, users: readonly (User & { readonly rights?: readonly Right[] })[] = []): Promise<void> {
  await withClient(server, async (client) => {
    await client.user(root.username).create(root.password);
    await client.user(root.username).addRole('root');
    for (const { username, password, rights = [] } of users) {
      const [user, role] = [client.user(username), client.role(username)];
      await user.create(password);
      if (rights.length === 0) continue;
      await role.create();
      for (const right of rights) await role.grant({ permission: 'Readwrite', range: rangeOf(right) as never });
      await user.addRole(username);
    }
    await client.auth.authEnable();
  });
}

function rangeOf(right: Right): { start: Buffer; end: Buffer } {
  if (typeof right !== 'string') return { start: Buffer.from(right.from), end: Buffer.from(right.to) };
  const [start, end] = [Buffer.from(right), Buffer.from(right)];
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return { start, end };
}

/** As root; each time by a new client, as an older one's token may be outdated. */
export const administer = (endpoint: string, task: (client: Etcd3) => Promise<unknown>): Promise<void> =>
  withClient({ hosts: endpoint, auth: root }, task);

async function withClient(options: IOptions, task: (client: Etcd3) => Promise<unknown>): Promise<void> {
  const client = new Etcd3(options);
  try {
    await task(client);
  } finally {
    client.close();
  }
}

/** Asserts that no key and no lease is left, as `client` sees it. */
export async function expectEmpty(client: Etcd3): Promise<void> {
  await eventually(async () => {
    expect(await client.getAll().keys()).toEqual([]);
    expect((await client.leaseClient.leaseLeases()).leases).toEqual([]);
  });
}

/** Flags for an etcd: authentication that costs little, with tokens that are not known any more when they were not used for `ttlSeconds`. */
export const simpleTokens = (ttlSeconds = 300): string[] => [
  ...['--auth-token', 'simple', '--auth-token-ttl', String(ttlSeconds)],
  ...['--bcrypt-cost', '4'],
];

/** The same with tokens that etcd signs; the keys are files. */
export function jwtTokens(): Disposable & { readonly args: readonly string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'jwt-'));
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const [publicFile, privateFile] = [join(folder, 'public.pem'), join(folder, 'private.pem')];
  writeFileSync(publicFile, publicKey.export({ type: 'spki', format: 'pem' }));
  writeFileSync(privateFile, privateKey.export({ type: 'pkcs1', format: 'pem' }));
  return {
    args: ['--auth-token', `jwt,pub-key=${publicFile},priv-key=${privateFile},sign-method=RS256,ttl=10m`, '--bcrypt-cost', '4'],
    [Symbol.dispose]: () => {
      rmSync(folder, { recursive: true });
    },
  };
}
