/** Tests that the tables of docs/options.md name each option and each error. */
import { expect, test } from 'vitest';
import * as surface from '../../src/index.ts';
import { loadSchemas } from '../../src/options/schema.ts';
import { columnOf, readPage } from '../support/run/markdown.ts';

const page = readPage('docs/options.md');

const { locker, lock, lead, ...others } = loadSchemas();
const optionsOf = (schema: object): string[] => ('shape' in schema ? Object.keys(schema.shape as object) : []);

test.each([
  ['Options of a locker', optionsOf(locker)],
  ['Options of a lock', [...optionsOf(lock), ...optionsOf(lead)]],
  ['Options of other calls', Object.values(others).flatMap(optionsOf)],
])('the table "%s" names each option', (heading, options) => {
  expect(columnOf(page, heading)).toEqual(expect.arrayContaining(options));
});

test('the table of the errors names each class and its code', () => {
  const classes = Object.entries(surface)
    .filter(([, value]) => typeof value === 'function' && value.prototype instanceof surface.LockerError)
    .map(([name]) => name);
  const codes = columnOf(page, 'Errors', 2);
  const rows = columnOf(page, 'Errors').map((name, index) => `${name} ${codes[index] ?? ''}`);

  expect(rows.sort()).toEqual(classes.map((name) => `${name} ${toCode(name)}`).sort());
});

/** 'LockLostError' has the code 'LOCK_LOST'. */
const toCode = (name: string): string =>
  name
    .replace(/Error$/, '')
    .replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_')
    .toUpperCase();
