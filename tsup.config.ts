import { defineConfig } from 'tsup';

export default defineConfig({
  entry: { index: 'src/index.ts', 'testing/index': 'src/testing/index.ts' },
  format: ['esm', 'cjs'],
  target: 'node20',
  dts: true,
  // Without it each CommonJS entry would hold its own copy of the error classes.
  splitting: true,
  clean: true,
  // import.meta.url in the CommonJS build.
  shims: true,
});
