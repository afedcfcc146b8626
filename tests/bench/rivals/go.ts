/** Go's clientv3/concurrency: builds tests/bench/go with two versions of the client, if Go is installed. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runGo } from '../../support/run/go.ts';
import { cacheDir } from '../paths.ts';

const source = fileURLToPath(new URL('../go/', import.meta.url));

/** The file that pins the modules of each rival. */
const modules = { go: 'go.mod', go37: 'go-3.7.mod' } as const;
export type GoRival = keyof typeof modules;

export type GoPrograms = Readonly<Record<GoRival, string>>;

export type Go =
  | { readonly programs: GoPrograms; readonly version: string; readonly clients: string }
  | { readonly programs: null; readonly reason: string };

/** The first build takes a minute, because it downloads and compiles modules. */
export async function buildGo(): Promise<Go> {
  try {
    const programs = { go: await build('go'), go37: await build('go37') };
    const version = (await runGo(['env', 'GOVERSION'], { cwd: source })).trim().replace(/^go/, '');
    return { programs, version, clients: `${await clientVersion('go')} and ${await clientVersion('go37')}` };
  } catch (error) {
    return { programs: null, reason: error instanceof Error ? error.message : String(error) };
  }
}

async function build(rival: GoRival): Promise<string> {
  const program = join(cacheDir, 'go', rival);
  await mkdir(join(cacheDir, 'go'), { recursive: true });
  await runGo(['build', `-modfile=${modules[rival]}`, '-o', program, '.'], { cwd: source });
  return program;
}

async function clientVersion(rival: GoRival): Promise<string> {
  return /client\/v3 v(\S+)/.exec(await readFile(join(source, modules[rival]), 'utf8'))?.[1] ?? 'unknown';
}
