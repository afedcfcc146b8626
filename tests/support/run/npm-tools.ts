/**
 * Installs programs of other versions for tests: runtimes and compilers. They come from npm, once, into a folder of the project.
 *
 * They are no dependencies of the project, because they have some 100 MB each and few tests use them.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const cache = fileURLToPath(new URL('../../../.cache/tools/', import.meta.url));

/**
 * Installs a package, such as `typescript@5.9`. Returns the path of one of its files, or null if npm cannot install it.
 *
 * @param file relative to the folder of the package
 */
export async function installTool(name: string, version: string, file: string): Promise<string | null> {
  const folder = join(cache, `${name.replaceAll('/', '-')}-${version}`);
  const installed = join(folder, 'node_modules', name, file);
  if (existsSync(installed)) return installed;
  await mkdir(cache, { recursive: true });
  const made = await mkdtemp(join(cache, 'new-'));
  try {
    // Without scripts: the packages of this kind have their program in them.
    const options = ['--ignore-scripts', '--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--loglevel=error'];
    await run('npm', ['install', '--prefix', made, ...options, `${name}@${version}`], { cwd: made, timeout: 120_000 });
    // Another test file may install the same package at the same time. The first one stays.
    await rename(made, folder).catch(() => rm(made, { recursive: true, force: true }));
  } catch (error) {
    await rm(made, { recursive: true, force: true });
    console.log(`Skipped: cannot install ${name}@${version}: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`);
    return null;
  }
  return existsSync(installed) ? installed : null;
}
