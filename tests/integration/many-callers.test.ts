/** Tests that many callers of several processes share a name evenly, and share one watch stream. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { findEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { startWorker, type TestProcess } from '../support/run/processes.ts';

/** Returns the number of calls of a method that the server has started. */
async function countStarted(server: EtcdServer, method: string): Promise<number> {
  const lines = (await server.metrics()).matchAll(/^grpc_server_started_total\{.*grpc_method="(\w+)".*\} (\S+)$/gm);
  return [...lines].reduce((sum, [, name, count]) => sum + (name === method ? Number(count) : 0), 0);
}

const tokensOf = ({ steps }: TestProcess): bigint[] =>
  steps.filter(({ step }) => step === 'hold').map(({ token }) => BigInt(String(token)));

const isShared = (await findEtcd()).kind === 'endpoints';

describe('many callers', () => {
  let stage: Stage<EtcdServer>;
  beforeAll(async () => {
    stage = await openStage();
  });
  afterEach(() => stage.clear());
  afterAll(() => stage[Symbol.asyncDispose]());

  test('lock() gives each of two processes with 50 callers between 40 % and 60 % of the holds', async () => {
    const settings = { hosts: stage.server.endpoint, prefix: stage.prefix, ttlMs: 2_000, name: 'hot', times: 50 };
    await using one = startWorker('many-callers.ts', settings);
    await using other = startWorker('many-callers.ts', settings);
    await Promise.all([one.reached('hold'), other.reached('hold')]);
    await eventually(() => {
      expect(Math.min(tokensOf(one).length, tokensOf(other).length)).toBeGreaterThan(150);
    });
    one.signal('SIGKILL');
    other.signal('SIGKILL');
    await Promise.all([one.ended, other.ended]);

    // Counts only while both contend: from the first hold of the later process to the last hold of the one that ends first.
    const tokens = [tokensOf(one), tokensOf(other)];
    const from = tokens.map(([first = 0n]) => first).reduce((a, b) => (a > b ? a : b));
    const to = tokens.map((all) => all.at(-1) ?? 0n).reduce((a, b) => (a < b ? a : b));
    const [first = 0, second = 0] = tokens.map((all) => all.filter((token) => token >= from && token <= to).length);
    expect(first + second).toBeGreaterThan(200);
    expect(first / (first + second)).toBeGreaterThan(0.4);
    expect(first / (first + second)).toBeLessThan(0.6);
  });

  // On a shared server, the count includes streams of other clients.
  test.skipIf(isShared)('lock() opens one watch stream when 1 000 callers wait for 1 000 names', async () => {
    const holders = stage.createLocker({ ttlMs: 60_000 });
    const waiters = stage.createLocker({ ttlMs: 60_000 });
    const names = Array.from({ length: 1_000 }, (_, index) => `n${String(index)}`);
    const held = await Promise.all(names.map((name) => holders.lock(name)));
    const before = await countStarted(stage.server, 'Watch');

    const waiting = names.map((name) => follow(waiters.lock(name)));
    await eventually(async () => {
      // The entries of both lockers, and their gates.
      expect((await stage.etcd.keys()).length).toBeGreaterThanOrEqual(2_000 + 2);
    });
    await Promise.all(held.map((lock) => lock.release()));
    const locks = await Promise.all(waiting.map(({ promise }) => promise));

    expect(locks.every((lock) => lock.held)).toBe(true);
    expect((await countStarted(stage.server, 'Watch')) - before).toBe(1);
  });
});
