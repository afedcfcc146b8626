import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Tests and examples write the package's name, as its users do; here it means the source.
const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

const withoutEtcd = [
  'tests/unit/**/*.test.ts',
  'tests/repository/**/*.test.ts',
  'tests/behaviour/**/*.test.ts',
  'tests/simulation/**/*.test.ts',
  'tests/contract/memory.test.ts',
];

export default defineConfig({
  resolve: {
    alias: [
      { find: /^etcd-locker$/, replacement: source('./src/index.ts') },
      { find: /^etcd-locker\/testing$/, replacement: source('./src/testing/index.ts') },
      { find: /^etcd-locker\/web-locks$/, replacement: source('./src/web-locks/index.ts') },
    ],
  },
  test: {
    setupFiles: ['tests/support/run/leak-check.ts'],
    dangerouslyIgnoreUnhandledErrors: false,
    testTimeout: 20_000,
    hookTimeout: 30_000,
    // More servers and processes at once than the machine has cores make each of them slow, and the run no faster.
    maxWorkers: 2,
    typecheck: { enabled: false, include: [] },
    projects: [
      // No etcd, no network, a clock that the test moves. A failure here is never repeated.
      {
        extends: true,
        test: {
          name: 'memory',
          include: withoutEtcd,
        },
      },
      // Servers, sockets and processes take their own time, so a failed test runs once more. CI lists the tests that needed it.
      {
        extends: true,
        test: {
          name: 'etcd',
          include: ['tests/**/*.test.ts'],
          exclude: [...withoutEtcd, 'tests/fault/**'],
          globalSetup: ['tests/support/run/global-setup.ts'],
          retry: 1,
        },
      },
      {
        extends: true,
        test: {
          name: 'types',
          include: [],
          typecheck: { enabled: true, only: true, include: ['tests/types/*.test-d.ts'], tsconfig: './tsconfig.json' },
        },
      },
      // A program of its own: in any other, the DOM library would be visible to all of src.
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
            // src is written for the library of Node, and the project above checks it with that.
            ignoreSourceErrors: true,
          },
        },
      },
      // After all others, one file after the other: each starts a cluster and many processes.
      {
        extends: true,
        test: {
          name: 'fault',
          include: ['tests/fault/*.test.ts'],
          globalSetup: ['tests/support/run/global-setup.ts', 'tests/fault/global-setup.ts'],
          retry: 1,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
