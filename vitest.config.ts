import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Tests and examples import the package by its name, like its users. Here the name resolves to the source.
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
      { find: /^etcd-locker\/otel$/, replacement: source('./src/otel/index.ts') },
    ],
  },
  test: {
    setupFiles: ['tests/support/run/leak-check.ts'],
    dangerouslyIgnoreUnhandledErrors: false,
    testTimeout: 20_000,
    hookTimeout: 30_000,
    // More files at a time than cores make servers and processes slow, and the run no faster.
    maxWorkers: 2,
    typecheck: { enabled: false, include: [] },
    projects: [
      // These tests use no etcd and no network, and a manual clock. A failed test does not run again.
      {
        extends: true,
        test: {
          name: 'memory',
          include: withoutEtcd,
        },
      },
      // The timing of servers, sockets and processes varies, so a failed test runs once more. CI lists these tests as flaky.
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
      // A separate TypeScript program: in a shared one, all of src would see the DOM library.
      {
        test: {
          name: 'types with the DOM library',
          include: [],
          typecheck: {
            enabled: true,
            only: true,
            include: ['tests/types/dom/*.test-d.ts'],
            exclude: ['tests/types/*.test-d.ts'],
            tsconfig: './tests/types/dom/tsconfig.json',
            // src uses Node's library. The project above checks it with that library.
            ignoreSourceErrors: true,
          },
        },
      },
      // Runs after all other projects, one file at a time: each file starts a cluster and many processes.
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
