/** Tests of docs/architecture.md: its files and functions exist, and its picture has the imports of src. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const filesIn = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

const page = read('docs/architecture.md');
const sources = filesIn('src');
const tests = filesIn('tests');

const codeIn = (text: string): string[] => [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);

const defines = (file: string, name: string): boolean => {
  if (!sources.includes(file)) return false;
  const modifiers = String.raw`(?:(?:export|async|readonly|const|function\*?) )*`;
  return new RegExp(String.raw`^ *${modifiers}${name.replace('()', '')}(?: = |<|\()`, 'm').test(read(join('src', file)));
};

test('docs/architecture.md names files that exist', () => {
  const named = codeIn(page).filter((code) => code.endsWith('.ts'));
  const known = [...sources, ...tests, ...sources.map((file) => basename(file))];

  expect(named.filter((file) => !known.includes(file))).toEqual([]);
  expect(named.length).toBeGreaterThan(100);
});

test('docs/architecture.md names functions that the file before them defines', () => {
  const wrong: string[] = [];
  let count = 0;
  const check = (file: string, names: readonly string[]): void => {
    count += names.length;
    for (const name of names) if (!defines(file, name)) wrong.push(`${file}: ${name}`);
  };
  // In the text: `file.ts`: `one()`, `other()`
  for (const [, file = '', names = ''] of page.matchAll(/`([\w/-]+\.ts)`:\s+(`#?\w+\(\)`(?:,\s+`#?\w+\(\)`)*)/g))
    check(file, codeIn(names));
  const rows = page.split('\n').filter((line) => line.startsWith('| ') && line.includes('.ts` |'));
  for (const [, , file = '', names = '', test = ''] of rows.map((row) => row.split('|'))) {
    check(codeIn(file)[0] ?? '', codeIn(names));
    if (!codeIn(test).every((one) => tests.includes(one))) wrong.push(test);
  }

  expect(wrong).toEqual([]);
  expect(rows.length).toBeGreaterThan(12);
  expect(count).toBeGreaterThan(100);
});

test('docs/architecture.md draws the imports between the folders of src, all of them downwards', () => {
  const [, picture = ''] = /```mermaid\n([^]*?)```/.exec(page) ?? [];
  const boxes = new Map([...picture.matchAll(/^ *(\w+)\["(.*)"\]$/gm)].map(([, id = '', label = '']) => [id, label]));
  const order = [...boxes.keys()];
  const boxOf = (file: string): string => [...boxes].find(([, label]) => label === file || label === `${dirname(file)}/`)?.[0] ?? 'base';
  const folderOf = (file: string): string => file.replace(/^(store\/etcd)\/wire\//, '$1/');

  const drawn = [...picture.matchAll(/^ *(\w+) --> (.+)$/gm)].flatMap(([, from = '', to = '']) =>
    to.split(' & ').map((target) => `${from} ${target}`),
  );
  const imports = sources.flatMap((file) =>
    [...read(join('src', file)).matchAll(/ from '(\.[^']+)'/g)].map(
      ([, path = '']) => `${boxOf(folderOf(file))} ${boxOf(folderOf(join(dirname(file), path)))}`,
    ),
  );
  const isDrawable = (arrow: string): boolean => {
    const [from = '', to = ''] = arrow.split(' ');
    return from !== to && to !== 'base';
  };

  expect(drawn.filter(isDrawable).sort()).toEqual([...new Set(imports.filter(isDrawable))].sort());
  expect(drawn.filter((arrow) => order.indexOf(arrow.split(' ')[0] ?? '') >= order.indexOf(arrow.split(' ')[1] ?? ''))).toEqual([]);
});
