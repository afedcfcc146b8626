/** Tests of tests/support/run/shell.ts, which finds the calls of the command in the scripts of the pages. */
import { expect, test } from 'vitest';
import { callsOf } from '../support/run/shell.ts';

test.each([
  ["npx etcd-locker --value 'a b' nightly -- ./job # comment", ['--value', 'a b', 'nightly', '--', './job']],
  ['HOSTS=one npx --yes etcd-locker nightly \\\n  -- ./job', ['nightly', '--', './job']],
  ['if ! etcd-locker inspect --check nightly >/dev/null 2>&1; then exit 75; fi', ['inspect', '--check', 'nightly']],
  ['state=$(npx etcd-locker inspect --json nightly)', ['inspect', '--json', 'nightly']],
  ['echo "held: $(etcd-locker inspect nightly)"', ['inspect', 'nightly']],
  ['etcd-locker nightly -- sh -c "exec \\"$0\\" | cat"', ['nightly', '--', 'sh', '-c', 'exec "$0" | cat']],
  ['etcd-locker list | head -1', ['list']],
  ['etcd-locker nightly -- ./job 9<list', ['nightly', '--', './job']],
])('%s', (script, args) => {
  expect(callsOf('etcd-locker', script)).toEqual([args]);
});

test('a call of another command, in a comment or in quotes is none', () => {
  expect(callsOf('etcd-locker', "# etcd-locker list\nsay etcd-locker list\necho 'etcd-locker list'")).toEqual([]);
});
