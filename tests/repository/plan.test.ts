/** Tests of tests/plan.ts: no test file is missing from it. */
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { plans, type Plan } from '../plan.ts';

const files = (await readdir(fileURLToPath(new URL('../', import.meta.url)), { recursive: true }))
  .map((file) => `tests/${file}`)
  .filter((file) => /\.test(-d)?\.ts$/.test(file));

const partsOf = ({ parts }: Plan, file: string): number =>
  parts.flatMap(({ paths }) => paths).filter((path) => file === path || file.startsWith(`${path}/`)).length;

test('npm run test:all runs each test file once', () => {
  expect(files.filter((file) => partsOf(plans.all, file) !== 1)).toEqual([]);
});

test('npm test and npm run test:rest together run each test file', () => {
  expect(files.filter((file) => partsOf(plans.quick, file) + partsOf(plans.rest, file) === 0)).toEqual([]);
});
