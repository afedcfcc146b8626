import { defineConfig } from 'tsup';

export default defineConfig([
  {
    entry: { index: 'src/index.ts', 'testing/index': 'src/testing/index.ts', 'web-locks': 'src/web-locks/index.ts' },
    format: ['esm', 'cjs'],
    target: 'node20',
    dts: true,
    // Without it each CommonJS entry would hold its own copy of the error classes.
    splitting: true,
    // Both builds run at once, and each empties its own folder only.
    clean: ['!cli/**'],
    // import.meta.url in the CommonJS build.
    shims: true,
  },
  {
    entry: { main: 'src/cli/main.ts' },
    outDir: 'dist/cli',
    format: ['esm'],
    target: 'node20',
    // The command imports the package by its name, so its bundle holds no second copy of the error classes.
    // Only src/text.ts, which has no class and no state, is in both bundles.
    external: ['etcd-locker'],
    clean: true,
  },
]);
