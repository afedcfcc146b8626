import { expect, test, describe } from 'vitest';
import { canControlServers, type EtcdMember } from '../support/etcd/etcd.ts';
import { memberOf } from '../support/fixtures/etcd-stage.ts';
import { listener, openCommandStage } from './command.ts';

// The lock is lost at the latest one TTL after the last successful renewal.
describe.skipIf(!(await canControlServers()))('etcd-locker when etcd is killed while the command runs', { concurrent: true }, () => {
  const begin = async (command: readonly string[]) => {
    const stage = await openCommandStage();
    const child = stage.launch('--ttl', '3s', '--grace', '500ms', 'nightly', ...command);
    await child.reached(/^working/);
    const etcd: EtcdMember = memberOf(stage.server);
    await etcd.kill();
    return { stage, child, etcd };
  };

  test('the command gets SIGTERM, and the exit status is 75', { timeout: 40_000 }, async () => {
    const { stage, child, etcd } = await begin(listener());
    try {
      const { code, stderr } = await child.ended;

      expect(code).toBe(75);
      expect(child.steps.at(-1)).toEqual({ step: 'SIGTERM 1' });
      expect(stderr).toMatch(/Cannot keep lock "nightly" .*; stopping the command\n/);
    } finally {
      await etcd.start();
      await stage[Symbol.asyncDispose]();
    }
  });

  test('a command that ignores SIGTERM gets SIGKILL after the grace time', { timeout: 40_000 }, async () => {
    const { stage, child, etcd } = await begin(listener('undefined'));
    try {
      const { code, stderr } = await child.ended;

      expect(code).toBe(75);
      expect(child.steps.at(-1)).toEqual({ step: 'SIGTERM 1' });
      expect(stderr).toMatch(/SIGKILL/);
    } finally {
      await etcd.start();
      await stage[Symbol.asyncDispose]();
    }
  });
});
