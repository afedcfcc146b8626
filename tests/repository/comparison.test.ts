/** Tests that docs/comparison.md names the versions that were read, and has a source for each mark. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { readPage } from '../support/run/markdown.ts';

const page = readPage('docs/comparison.md');

async function versionOf(name: string): Promise<string> {
  const text = await readFile(fileURLToPath(new URL(`../../node_modules/${name}/package.json`, import.meta.url)), 'utf8');
  return (JSON.parse(text) as { version: string }).version.replace(/^v/, '');
}

test('the page names the installed versions of the packages that it compares', async () => {
  const [, versions = ''] = /^Versions: ([^]*?)\n\n/m.exec(page) ?? [];
  const packages = { etcd3: 'etcd3', 'node-redlock': 'redlock', 'redis-semaphore': 'redis-semaphore' };

  for (const [title, name] of Object.entries(packages)) expect(versions).toContain(`${title} ${await versionOf(name)}`);
});

test('each mark has a source, and each source a mark', () => {
  const marks = new Set([...page.matchAll(/^\|.*$/gm)].flatMap(([row]) => [...row.matchAll(/\[(\d+)\]/g)].map(([, mark]) => Number(mark))));
  const sources = [...page.matchAll(/^(\d+)\. /gm)].map(([, source]) => Number(source));

  expect(sources).toEqual(Array.from({ length: sources.length }, (_, index) => index + 1));
  expect([...marks].sort((a, b) => a - b)).toEqual(sources);
});
