/** Tests of the pages: links, fences, lengths of lines, and the tests that docs/guarantees.md cites. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { anchorsOf, blocksOf, isKnownFence, linksOf, longLinesOf, pages as guides, readPage } from '../support/run/markdown.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const inDocs = (await readdir(join(root, 'docs'), { recursive: true })).filter((file) => file.endsWith('.md') && !file.startsWith('api/'));
const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...inDocs.map((file) => join('docs', file))];

const read = (path: string): Promise<string> => readFile(join(root, path), 'utf8');
/** Returns the titles of describe() and test(): each string that is a first argument. */
const titlesIn = (source: string): string[] =>
  [...source.matchAll(/\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1,/g)].map(([, , title = '']) => title);

test.each(pages)('each link of %s leads to an existing file and heading', async (page) => {
  const broken: string[] = [];
  for (const link of linksOf(await read(page))) {
    if (/^[a-z]+:/.test(link)) continue;
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? page : join(dirname(page), path);
    const exists = existsSync(join(root, target));
    if (!exists || (anchor !== undefined && !anchorsOf(await read(target)).includes(anchor))) broken.push(link);
  }

  expect(broken).toEqual([]);
});

test('the README links to each page', async () => {
  const linked = new Set(linksOf(await read('README.md')).map((link) => link.split('#')[0]));

  expect(guides.filter((page) => page !== 'README.md' && !linked.has(page))).toEqual([]);
});

test.each(guides)('%s says under its title what it is for', async (page) => {
  const [, opening = ''] = /^# .+\n([^]*?)(?=^## |(?![^]))/m.exec(await read(page)) ?? [];

  expect(opening.split('\n').some((line) => /^\w[^|]{30,}/.test(line))).toBe(true);
});

const violationsOf = (page: string): string[] => [
  ...longLinesOf(readPage(page)).map((line) => `${page}:${String(line)}: longer than 100 characters`),
  ...blocksOf(page)
    .filter((block) => !isKnownFence(block))
    .map(({ line, language, mode }) => `${page}:${String(line)}: unknown fence "${language} ${mode}"`),
];

test.each(guides)('%s has short lines, and fences that say what is checked', (page) => {
  expect(violationsOf(page)).toEqual([]);
});

test('docs/guarantees.md cites existing tests', async () => {
  const lines = (await read('docs/guarantees.md')).split('\n').filter((line) => line.startsWith('- `tests/'));
  const missing: string[] = [];
  let cited = 0;
  for (const line of lines) {
    const [, path = ''] = /`(tests\/[^`]+)`/.exec(line) ?? [];
    const titles = [...line.matchAll(/“([^”]+)”/g)].map(([, title = '']) => title);
    const tests = existsSync(join(root, path)) ? titlesIn(await read(path)) : [];
    cited += titles.length;
    for (const title of titles) if (!tests.some((test) => test.includes(title))) missing.push(`${path}: ${title}`);
    if (titles.length === 0) missing.push(`${path}: no test is named`);
  }

  expect(missing).toEqual([]);
  expect(cited).toBeGreaterThan(100);
});

test('docs/guarantees.md names the faults and the tests of each promise', async () => {
  const promises = (await read('docs/guarantees.md'))
    .split(/^## (?=\d)/m)
    .slice(1)
    .map((part) => part.split(/^## /m)[0] ?? '');
  const incomplete = promises.filter((part) => !/^- `tests\//m.test(part) || !/^(Holds (under|always)|Not for )/m.test(part));

  expect(promises.length).toBe(16);
  expect(incomplete).toEqual([]);
});
