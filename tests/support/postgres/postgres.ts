/** Starts PostgreSQL for a test, in a new folder that dispose deletes. Clients connect to a Unix socket in that folder. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { eventually } from '../fixtures/etcd-stage.ts';
import { forgetFolder, forgetPid, rememberFolder, rememberPid } from '../run/leftovers.ts';
import { findPostgres, user } from './source.ts';

const run = promisify(execFile);

export interface PostgresServer extends AsyncDisposable {
  /** The variables by which clients find the server: PGHOST, PGUSER and PGDATABASE. */
  readonly env: Readonly<Record<'PGHOST' | 'PGUSER' | 'PGDATABASE', string>>;
  /** Runs one statement and returns its rows. */
  query(statement: string): Promise<Record<string, unknown>[]>;
}

/** @throws {Error} if there is no PostgreSQL, with the reasons */
export async function startPostgres(): Promise<PostgresServer> {
  const { bin, env } = await findPostgres();
  const folder = await mkdtemp(join(tmpdir(), 'pg-')); // short, because the length of a socket path is limited
  rememberFolder(folder);
  await chmod(folder, 0o755);
  if (user.uid !== undefined) await chown(folder, user.uid, user.gid);
  const data = join(folder, 'data');
  const options = { env, cwd: folder, ...user };
  const setup = ['--pgdata', data, '--username', 'postgres', '--auth', 'trust', '--no-sync', '--locale', 'C', '--encoding', 'UTF8'];
  await run(join(bin, 'initdb'), setup, options);

  const settings = ['listen_addresses=', `unix_socket_directories=${folder}`, 'fsync=off', 'jit=off', 'dynamic_shared_memory_type=mmap'];
  const args = ['-D', data, ...settings.flatMap((setting) => ['-c', setting])];
  const server = spawn(join(bin, 'postgres'), args, { ...options, stdio: ['ignore', 'ignore', 'pipe'] });
  if (server.pid !== undefined) rememberPid(server.pid);
  let log = '';
  server.stderr.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const ended = once(server, 'close');

  const stop = async (): Promise<void> => {
    server.kill('SIGINT'); // a fast shutdown: it does not wait for clients
    await ended;
    if (server.pid !== undefined) forgetPid(server.pid);
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    forgetFolder(folder);
  };
  const connection = { PGHOST: folder, PGUSER: 'postgres', PGDATABASE: 'postgres' };
  const query = async (statement: string): Promise<Record<string, unknown>[]> => {
    const client = new Client({ host: connection.PGHOST, user: connection.PGUSER, database: connection.PGDATABASE });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(statement)).rows;
    } finally {
      await client.end();
    }
  };
  try {
    await eventually(() => query('SELECT 1'));
  } catch (error) {
    await stop();
    throw new Error(`PostgreSQL did not start: ${log}`, { cause: error });
  }
  return { env: connection, query, [Symbol.asyncDispose]: stop };
}
