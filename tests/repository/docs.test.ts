/** What the pages point at is there: files, headings, and the tests that are said to show something. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const inDocs = (await readdir(join(root, 'docs'), { recursive: true })).filter((file) => file.endsWith('.md'));
const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...inDocs.map((file) => join('docs', file))];

const read = (path: string): Promise<string> => readFile(join(root, path), 'utf8');
const withoutCode = (markdown: string): string =>
  markdown.replace(/^```[^]*?^```$/gm, '').replace(/`[^`\n]*`/g, (code) => code.slice(1, -1));

/** As GitHub makes them. */
const anchorsOf = (markdown: string): string[] =>
  [...withoutCode(markdown).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  );

/** What describe() and test() are told first, in whichever way they are called. */
const titlesIn = (source: string): string[] =>
  [...source.matchAll(/\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1,/g)].map(([, , title = '']) => title);

test.each(pages)('%s links to what is there', async (page) => {
  const broken: string[] = [];
  for (const [, link = ''] of withoutCode(await read(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(link)) continue;
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? page : join(dirname(page), path);
    const isThere = existsSync(join(root, target));
    if (!isThere || (anchor !== undefined && !anchorsOf(await read(target)).includes(anchor))) broken.push(link);
  }

  expect(broken).toEqual([]);
});

test('docs/guarantees.md cites tests that are there', async () => {
  const lines = (await read('docs/guarantees.md')).split('\n').filter((line) => line.startsWith('- ['));
  const missing: string[] = [];
  let cited = 0;
  for (const line of lines) {
    const [, path = ''] = /\]\(\.\.\/([^)]+)\)/.exec(line) ?? [];
    const titles = [...line.matchAll(/“([^”]+)”/g)].map(([, title = '']) => title);
    const tests = existsSync(join(root, path)) ? titlesIn(await read(path)) : [];
    cited += titles.length;
    for (const title of titles) if (!tests.some((test) => test.includes(title))) missing.push(`${path}: ${title}`);
    if (titles.length === 0) missing.push(`${path}: no test is named`);
  }

  expect(missing).toEqual([]);
  expect(cited).toBeGreaterThan(100);
});

test('docs/guarantees.md says of each promise under what it holds, and which tests show it', async () => {
  const promises = (await read('docs/guarantees.md'))
    .split(/^## (?=\d)/m)
    .slice(1)
    .map((part) => part.split(/^## /m)[0] ?? '');
  const lacking = promises.filter((part) => !/^- \[/m.test(part) || !/^(Holds (under|always)|Not for )/m.test(part));

  expect(promises.length).toBe(13);
  expect(lacking).toEqual([]);
});
