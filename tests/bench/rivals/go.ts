/** Go's clientv3/concurrency: builds tests/bench/go if Go is installed. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { firstLine, onPath } from '../../support/etcd/binary.ts';
import { cacheDir } from '../paths.ts';

const run = promisify(execFile);
const source = fileURLToPath(new URL('../go/', import.meta.url));

export type Go =
  { readonly program: string; readonly version: string; readonly client: string } | { readonly program: null; readonly reason: string };

/** The first build takes a minute, because it downloads and compiles modules. */
export async function buildGo(): Promise<Go> {
  const go = await onPath('go', process.env['PATH']);
  if (go === null) return { program: null, reason: 'go is not on PATH' };
  const program = join(cacheDir, 'go', 'worker');
  const options = {
    cwd: source,
    timeout: 300_000,
    env: { ...process.env, GOTOOLCHAIN: 'local', GOFLAGS: '-mod=readonly -buildvcs=false' },
  };
  try {
    await run(go, ['build', '-o', program, '.'], options);
    const { stdout } = await run(go, ['env', 'GOVERSION'], options);
    return { program, version: stdout.trim().replace(/^go/, ''), client: await clientVersion() };
  } catch (error) {
    const { stderr = '' } = error as { stderr?: string };
    return { program: null, reason: `the build failed: ${stderr.trim().split('\n').at(-1) ?? firstLine(error)}` };
  }
}

async function clientVersion(): Promise<string> {
  return /client\/v3 v(\S+)/.exec(await readFile(join(source, 'go.mod'), 'utf8'))?.[1] ?? 'unknown';
}
