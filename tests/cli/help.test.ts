import { expect, test } from 'vitest';
import { outcome } from './command.ts';

test.each([
  ['etcd-locker', []],
  ['inspect', ['inspect']],
  ['list', ['list']],
  ['watch', ['watch']],
])('--help of %s is what it was, and fits a terminal of 80 columns', async (page, words) => {
  const { code, stdout, stderr } = await outcome([...words, '--help']);

  expect([code, stderr]).toEqual([0, '']);
  expect(stdout.split('\n').filter(({ length }) => length >= 80)).toEqual([]);
  await expect(stdout).toMatchFileSnapshot(`help/${page}.txt`);
});

test('--help counts before anything else, also as -h and with what would be refused', async () => {
  const whole = await outcome(['--help']);

  expect(await outcome(['-h', '--try', '--timeout', '1s'])).toEqual(whole);
  // The lock of that name, not the word.
  expect(await outcome(['list', '--help', '--', 'true'])).toEqual(whole);
});
