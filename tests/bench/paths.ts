import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url));

/** The folder of the bench's builds. It is ignored by git, and outside node_modules, which `npm ci` empties. */
export const cacheDir = join(root, '.cache', 'bench');

export const workerScript = fileURLToPath(new URL('worker.ts', import.meta.url));
export const documentFile = join(root, 'docs', 'benchmarks.md');
export const remarksFile = fileURLToPath(new URL('remarks.md', import.meta.url));

/** The results of the last full run, for `--page`. */
export const resultsFile = join(cacheDir, 'results.json');
