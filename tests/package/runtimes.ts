/** The runtimes that the package supports, and where the tests find them. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { installTool } from '../support/run/npm-tools.ts';

const run = promisify(execFile);

export interface Runtime {
  /** For example 'Node 20.20.2'. */
  readonly title: string;
  readonly kind: 'node' | 'bun' | 'deno';
  readonly file: string;
  /** The arguments before the program. */
  readonly flags: readonly string[];
}

const platform = `${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
const denoPackages: Partial<Record<string, string>> = {
  'linux-x64': '@deno/linux-x64-glibc',
  'linux-arm64': '@deno/linux-arm64-glibc',
};
// Deno finds packages in node_modules only with --node-modules-dir.
const denoFlags = ['run', '--allow-all', '--no-lock', '--node-modules-dir=manual'];

/** Returns the runtimes that npm can install on this machine, and prints a line for each that it cannot. */
export async function findRuntimes(): Promise<readonly Runtime[]> {
  const installed = await Promise.all([
    ...['20', '22', '26'].map(async (version) => ({
      kind: 'node' as const,
      file: await installTool(`node-${platform}`, version, 'bin/node'),
    })),
    installTool(`@oven/bun-${platform}`, '1', 'bin/bun').then((file) => ({ kind: 'bun' as const, file })),
    installTool(denoPackages[platform] ?? `@deno/${platform}`, '2', 'deno').then((file) => ({ kind: 'deno' as const, file })),
  ]);
  const own = { kind: 'node' as const, file: process.execPath };
  return Promise.all([own, ...installed].flatMap(({ kind, file }) => (file === null ? [] : [describe(kind, file)])));
}

async function describe(kind: Runtime['kind'], file: string): Promise<Runtime> {
  const { stdout } = await run(file, ['--version']);
  const version = /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? 'unknown';
  const name = { node: 'Node', bun: 'Bun', deno: 'Deno' }[kind];
  return { title: `${name} ${version}`, kind, file, flags: kind === 'deno' ? denoFlags : [] };
}
