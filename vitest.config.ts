import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Tests and examples write the package's name, as its users do; here it means the source.
const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^etcd-locker$/, replacement: source('./src/index.ts') },
      { find: /^etcd-locker\/testing$/, replacement: source('./src/testing/index.ts') },
      { find: /^etcd-locker\/web-locks$/, replacement: source('./src/web-locks/index.ts') },
    ],
  },
  test: {
    globalSetup: ['tests/support/run/global-setup.ts', 'tests/fault/global-setup.ts'],
    setupFiles: ['tests/support/run/leak-check.ts'],
    dangerouslyIgnoreUnhandledErrors: false,
    testTimeout: 20_000,
    hookTimeout: 30_000,
    // Real servers and processes share the machine: more at once than it has cores makes them slow, not the run fast.
    maxWorkers: 2,
    typecheck: { enabled: true, include: ['tests/types/**/*.test-d.ts'], tsconfig: './tsconfig.json' },
    projects: [
      {
        extends: true,
        test: {
          name: 'tests',
          include: ['tests/**/*.test.ts'],
          exclude: ['tests/fault/**'],
          typecheck: { exclude: ['tests/types/dom/**'] },
        },
      },
      // A program of its own, as in any other the DOM library would be known to all of src.
      {
        test: {
          name: 'types beside the DOM library',
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            include: ['tests/types/dom/*.test-d.ts'],
            exclude: ['tests/types/*.test-d.ts'],
            tsconfig: './tests/types/dom/tsconfig.json',
            // Of src itself: it is written for Node's library, and is checked with that.
            ignoreSourceErrors: true,
          },
        },
      },
      // After all others and one file after the other: each has a cluster and many processes.
      {
        extends: true,
        test: {
          name: 'fault',
          include: ['tests/fault/*.test.ts'],
          fileParallelism: false,
          sequence: { groupOrder: 1 },
          typecheck: { enabled: false },
        },
      },
    ],
  },
});
