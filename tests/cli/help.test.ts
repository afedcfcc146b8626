import { expect, test } from 'vitest';
import { outcome } from './command.ts';

test.each([
  ['etcd-locker', []],
  ['inspect', ['inspect']],
  ['list', ['list']],
  ['watch', ['watch']],
  ['break', ['break']],
])('--help of %s equals its snapshot and fits a terminal of 80 columns', async (page, words) => {
  const { code, stdout, stderr } = await outcome([...words, '--help']);

  expect([code, stderr]).toEqual([0, '']);
  expect(stdout.split('\n').filter(({ length }) => length >= 80)).toEqual([]);
  await expect(stdout).toMatchFileSnapshot(`help/${page}.txt`);
});

test('--help and -h win over all other options, invalid ones included', async () => {
  const whole = await outcome(['--help']);

  expect(await outcome(['-h', '--try', '--timeout', '1s'])).toEqual(whole);
  // Before -- the word `list` is the name of a lock.
  expect(await outcome(['list', '--help', '--', 'true'])).toEqual(whole);
});
