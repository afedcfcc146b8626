import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { defineConfig } from 'tsup';

/** The maps of the CommonJS build name their own file by its path on the machine that built it. */
async function removePathsFromMaps(folder: string): Promise<void> {
  for (const file of await readdir(folder, { recursive: true })) {
    if (!file.endsWith('.cjs.map')) continue;
    const map = JSON.parse(await readFile(join(folder, file), 'utf8')) as { file: string; sources: string[] };
    const sources = map.sources.map((source) => (source === map.file ? basename(source) : source));
    await writeFile(join(folder, file), JSON.stringify({ ...map, file: basename(map.file), sources }));
  }
}

/**
 * Never called. Names the files that etcd3 reads at run time, because etcd3 itself does not in a way that file tracers such as
 * @vercel/nft understand: rpc.proto imports the others. Bundlers ignore this form.
 */
const namesForTracers = `;(module) => {
  const load = module.createRequire('');
  load('etcd3/proto/auth.proto');
  load('etcd3/proto/kv.proto');
};`;

export default defineConfig([
  {
    entry: {
      index: 'src/index.ts',
      'testing/index': 'src/testing/index.ts',
      'web-locks': 'src/web-locks/index.ts',
      otel: 'src/otel/index.ts',
    },
    format: ['esm', 'cjs'],
    target: 'node20',
    dts: true,
    // Without splitting, each CommonJS entry has its own copy of the error classes.
    splitting: true,
    // The package contains the few parts of zod that it uses. docs/decisions/020 has the reasons.
    noExternal: ['zod'],
    footer: { js: namesForTracers },
    sourcemap: true,
    // Both builds run at the same time. Each empties only its own folder.
    clean: ['!cli/**'],
    onSuccess: async () => {
      // The licence of zod demands that each copy contains it.
      await cp('node_modules/zod/LICENSE', 'dist/zod.LICENSE');
      await removePathsFromMaps('dist');
    },
  },
  {
    entry: { main: 'src/cli/main.ts', start: 'src/cli/start.ts' },
    outDir: 'dist/cli',
    format: ['esm'],
    target: 'node20',
    // The command imports the package by its name, so its bundle has no second copy of the error classes.
    // Only src/text.ts is in both bundles: it has no class and no state.
    external: ['etcd-locker'],
    sourcemap: true,
    clean: true,
  },
]);
