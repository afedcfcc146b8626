import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { main } from './command.ts';

test('the bundle of the command holds no copy of the library or of its error classes', async () => {
  const folder = dirname(main);
  const files = (await readdir(folder)).filter((file) => file.endsWith('.js'));
  const source = (await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')))).join('\n');
  const errorClasses = [...source.matchAll(/(\w+Error) = class|class (\w+Error)/g)].map(([, assigned, declared]) => assigned ?? declared);

  expect([...new Set(errorClasses)].sort()).toEqual(['OutputError', 'UsageError']);
  expect(source).toMatch(/from ["']etcd-locker["']/);
  expect(source).not.toMatch(/@grpc|etcd3["']|zod/);
});
