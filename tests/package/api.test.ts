/** Tests that the public API of the build is the accepted one in api/. A change is accepted by `npm run api:accept`. */
import { expect, test, vi } from 'vitest';
import { describeApi, readAccepted } from './api.ts';

// A busy machine is slow at reading the types of Node.
vi.setConfig({ testTimeout: 60_000 });

const api = describeApi();

test('the API of each entry point is the accepted one; run `npm run api:accept` if the change is wanted', () => {
  const accepted = readAccepted();

  expect([...api.keys()].sort()).toEqual([...accepted.keys()].sort());
  for (const [file, text] of api) expect(text, file).toBe(accepted.get(file));
});

test('the API is the same in ES modules and CommonJS', () => {
  expect(describeApi('require')).toEqual(api);
});

test('the API names each export once, with its declaration', () => {
  const text = api.get('etcd-locker.d.ts.txt') ?? '';

  for (const declaration of [
    'export function createLocker(options?: LockerOptions): Locker;',
    'export interface Lock extends AsyncDisposable {',
    'export type Mode = ',
    'export class LockTimeoutError extends LockerError {',
  ])
    expect(text.split(declaration)).toHaveLength(2);
  expect(text).not.toMatch(/\/\*\*|import\(/);
});
