import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { findEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { follow } from '../support/fixtures/holding.ts';
import { eventually, openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { startWorker, type TestProcess } from '../support/run/processes.ts';

/** How many calls of a method the server has begun. */
async function begunAt(server: EtcdServer, method: string): Promise<number> {
  const lines = (await server.metrics()).matchAll(/^grpc_server_started_total\{.*grpc_method="(\w+)".*\} (\S+)$/gm);
  return [...lines].reduce((sum, [, name, count]) => sum + (name === method ? Number(count) : 0), 0);
}

const tokensOf = ({ steps }: TestProcess): bigint[] =>
  steps.filter(({ step }) => step === 'turn').map(({ token }) => BigInt(String(token)));

const isShared = (await findEtcd()).kind === 'endpoints';

describe('many callers', () => {
  let stage: Stage<EtcdServer>;
  beforeAll(async () => {
    stage = await openStage();
  });
  afterEach(() => stage.clear());
  afterAll(() => stage[Symbol.asyncDispose]());

  test('lock() gives two processes of 50 callers each between 40 % and 60 % of the turns', async () => {
    const settings = { hosts: stage.server.endpoint, prefix: stage.prefix, ttlMs: 2_000, name: 'hot', times: 50 };
    await using one = startWorker('many-callers.ts', settings);
    await using other = startWorker('many-callers.ts', settings);
    await Promise.all([one.reached('turn'), other.reached('turn')]);
    await eventually(() => {
      expect(Math.min(tokensOf(one).length, tokensOf(other).length)).toBeGreaterThan(150);
    });
    one.signal('SIGKILL');
    other.signal('SIGKILL');
    await Promise.all([one.ended, other.ended]);

    // While both of them are at it: from the first turn of the later one to the last of the one that ended first.
    const tokens = [tokensOf(one), tokensOf(other)];
    const from = tokens.map(([first = 0n]) => first).reduce((a, b) => (a > b ? a : b));
    const to = tokens.map((all) => all.at(-1) ?? 0n).reduce((a, b) => (a < b ? a : b));
    const [ones = 0, others = 0] = tokens.map((all) => all.filter((token) => token >= from && token <= to).length);
    expect(ones + others).toBeGreaterThan(200);
    expect(ones / (ones + others)).toBeGreaterThan(0.4);
    expect(ones / (ones + others)).toBeLessThan(0.6);
  });

  // Of a server that others use too one cannot tell whose streams they are.
  test.skipIf(isShared)('lock() costs one watch stream when 1 000 callers wait for 1 000 names', async () => {
    const holders = stage.createLocker({ ttlMs: 60_000 });
    const waiters = stage.createLocker({ ttlMs: 60_000 });
    const names = Array.from({ length: 1_000 }, (_, index) => `n${String(index)}`);
    const held = await Promise.all(names.map((name) => holders.lock(name)));
    const before = await begunAt(stage.server, 'Watch');

    const waiting = names.map((name) => follow(waiters.lock(name)));
    await eventually(async () => {
      // The entries of both, and their gates.
      expect((await stage.etcd.keys()).length).toBeGreaterThanOrEqual(2_000 + 2);
    });
    await Promise.all(held.map((lock) => lock.release()));
    const locks = await Promise.all(waiting.map(({ promise }) => promise));

    expect(locks.every((lock) => lock.held)).toBe(true);
    expect((await begunAt(stage.server, 'Watch')) - before).toBe(1);
  });
});
