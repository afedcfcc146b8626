/** Enables authentication on an etcd of a test: users, permissions, and kinds of tokens. */
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

/** Keys that a user may read and write: those with a prefix, or those from `from` to before `to`. */
export type Right = string | { readonly from: string; readonly to: string };

/** The user that etcd requires, with all permissions. */
export const root: User = { username: 'root', password: 'root-8402' };

/** Creates the users and enables authentication. Each user with rights gets a role of its own name. */
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

/** Runs a task as root. Each call uses a new client, because the token of an older one may be invalid. */
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

/** Asserts that etcd has no key and no lease. */
export async function expectEmpty(client: Etcd3): Promise<void> {
  await eventually(async () => {
    expect(await client.getAll().keys()).toEqual([]);
    expect((await client.leaseClient.leaseLeases()).leases).toEqual([]);
  });
}

/** Returns flags for cheap authentication, with tokens that expire if they are not used for `ttlSeconds`. */
export const simpleTokens = (ttlSeconds = 300): string[] => [
  ...['--auth-token', 'simple', '--auth-token-ttl', String(ttlSeconds)],
  ...['--bcrypt-cost', '4'],
];

/** Returns flags for cheap authentication with JWTs. The keys are files, which dispose deletes. */
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
