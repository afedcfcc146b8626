/**
 * Unpacks the packed package into a temporary folder, with copies of its dependencies beside it, as an installation has them.
 *
 * Nothing is downloaded, and no link leads back into this repository. `npm test` builds the package before the tests run.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
export const root = fileURLToPath(new URL('../../', import.meta.url));

/** The part of the output of `npm pack` that is used here. */
interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
  readonly size: number;
  readonly unpackedSize: number;
}

export interface Unpacked {
  /** The folder of the programs that use the package. */
  readonly folder: string;
  /** The folder of the package. */
  readonly path: string;
  /** The files of the package, relative to `path`. */
  readonly files: readonly string[];
  readonly bytes: { readonly packed: number; readonly unpacked: number };
  remove(): Promise<void>;
}

/** @param types packages that only a compiler needs */
export async function unpackPackage(types: readonly string[] = []): Promise<Unpacked> {
  const folder = await mkdtemp(join(tmpdir(), 'package-'));
  // Without scripts, because the prepack script would rebuild dist while other tests use it.
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: root });
  // npm prints a list, or in some versions an object by package name.
  const [tarball] = Object.values(JSON.parse(stdout) as Record<string, Packed>);
  if (tarball === undefined) throw new Error(`Cannot read the output of npm pack: ${stdout}`);
  await run('tar', ['-xzf', join(folder, tarball.filename), '-C', folder]);
  const path = join(folder, 'node_modules', 'etcd-locker');
  await mkdir(dirname(path));
  await rename(join(folder, 'package'), path);
  const names = new Set([...(await dependenciesOf(path)), ...types]);
  // The set grows while the loop runs, so the loop copies the dependencies of dependencies too.
  for (const name of names) {
    const source = join(root, 'node_modules', name);
    await cp(source, join(folder, 'node_modules', name), { recursive: true });
    for (const dependency of await dependenciesOf(source)) if (!existsSync(join(source, 'node_modules', dependency))) names.add(dependency);
  }
  await cp(fileURLToPath(new URL('consumers/', import.meta.url)), folder, { recursive: true });
  return {
    folder,
    path,
    files: tarball.files.map((file) => file.path),
    bytes: { packed: tarball.size, unpacked: tarball.unpackedSize },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

async function dependenciesOf(folder: string): Promise<readonly string[]> {
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { dependencies?: Record<string, string> };
  return Object.keys(manifest.dependencies ?? {});
}
