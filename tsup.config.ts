import { defineConfig } from 'tsup';

export default defineConfig([
  {
    entry: { index: 'src/index.ts', 'testing/index': 'src/testing/index.ts', 'web-locks': 'src/web-locks/index.ts' },
    format: ['esm', 'cjs'],
    target: 'node20',
    dts: true,
    // Without splitting, each CommonJS entry has its own copy of the error classes.
    splitting: true,
    // Both builds run at the same time. Each empties only its own folder.
    clean: ['!cli/**'],
    // Provides import.meta.url in the CommonJS build.
    shims: true,
  },
  {
    entry: { main: 'src/cli/main.ts', start: 'src/cli/start.ts' },
    outDir: 'dist/cli',
    format: ['esm'],
    target: 'node20',
    // The command imports the package by its name, so its bundle has no second copy of the error classes.
    // Only src/text.ts is in both bundles: it has no class and no state.
    external: ['etcd-locker'],
    clean: true,
  },
]);
