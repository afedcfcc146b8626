/** Runs the `go` command, to build etcd and the Go peers of the tests. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { firstLine, onPath } from '../etcd/binary.ts';

const run = promisify(execFile);

export interface GoOptions {
  /** The folder of the module. */
  readonly cwd: string;
  /** @default the PATH of this process */
  readonly path?: string | undefined;
  /** Whether go may write go.mod and go.sum. With false, it fails if they do not pin every module. */
  readonly canChangeModules?: boolean;
}

/**
 * Runs `go` with `args`. The first build of a program takes a minute, because go downloads and compiles its modules.
 *
 * @throws {Error} if there is no `go` on PATH, or if it fails; the message ends with the last lines of its output
 */
export async function runGo(
  args: readonly string[],
  { cwd, path = process.env['PATH'], canChangeModules = false }: GoOptions,
): Promise<string> {
  const go = await onPath('go', path);
  if (go === null) throw new Error('go is not on PATH');
  const env = {
    ...process.env,
    PATH: path,
    GOTOOLCHAIN: 'local', // never downloads another Go
    GOFLAGS: `-buildvcs=false -mod=${canChangeModules ? 'mod' : 'readonly'}`,
    GOWORK: 'off',
    CGO_ENABLED: '0', // needs no C compiler
  };
  try {
    const { stdout } = await run(go, args, { cwd, env, timeout: 300_000, maxBuffer: 16 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { stderr = '' } = error as { readonly stderr?: string };
    const lines = stderr.split('\n').map((line) => line.trim());
    const reason = lines.filter((line) => line !== '').slice(-2);
    throw new Error(`go ${args[0] ?? ''}: ${reason.length === 0 ? firstLine(error) : reason.join(' ')}`, { cause: error });
  }
}
