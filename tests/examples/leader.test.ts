/** Tests examples/leader.ts with real processes: takeover after a kill, an outage, and SIGTERM. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { canControlServers, startEtcd, type EtcdServer } from '../support/etcd/etcd.ts';
import { eventually, memberOf } from '../support/fixtures/etcd-stage.ts';
import { TestProcess } from '../support/run/processes.ts';

const example = fileURLToPath(new URL('../../examples/leader.ts', import.meta.url));
const ttlMs = 2_000;
const canControl = await canControlServers();

const start = ({ endpoints }: EtcdServer, address: string): TestProcess =>
  new TestProcess(process.execPath, [example], {
    ...process.env,
    ETCD_ENDPOINTS: endpoints.join(','),
    ADDRESS: address,
    TTL_MS: String(ttlMs),
  });

const linesOf = (candidate: TestProcess): string[] => candidate.steps.map(({ step }) => step);
const lastLeader = (candidate: TestProcess): string | undefined => linesOf(candidate).findLast((line) => line.startsWith('leader: '));
const termOf = (candidate: TestProcess): number =>
  Number(/^term (\d+) begins$/.exec(linesOf(candidate).findLast((line) => line.endsWith(' begins')) ?? '')?.[1]);

/** Waits until exactly one candidate leads and all know its address. Returns the leader and the others. */
async function whenElected(candidates: ReadonlyMap<string, TestProcess>, afterTerm = 0): Promise<[leader: string, others: string[]]> {
  let found: [string, string[]] | undefined;
  await eventually(() => {
    const leaders = [...candidates].filter(([, candidate]) => termOf(candidate) > afterTerm).map(([address]) => address);
    expect(leaders).toHaveLength(1);
    const [leader = ''] = leaders;
    for (const candidate of candidates.values()) expect(lastLeader(candidate)).toBe(`leader: ${leader}`);
    found = [leader, [...candidates.keys()].filter((address) => address !== leader)];
  }, 20_000);
  return found ?? expect.unreachable();
}

describe('examples/leader.ts', { concurrent: true }, () => {
  test('another process takes over after kill -9 within the TTL, and after SIGTERM at once, each time with a higher term', async () => {
    await using server = await startEtcd();
    await using one = start(server, 'http://one');
    await using two = start(server, 'http://two');
    await using three = start(server, 'http://three');
    const candidates = new Map([
      ['http://one', one],
      ['http://two', two],
      ['http://three', three],
    ]);
    const [first] = await whenElected(candidates);
    const terms = [termOf(candidates.get(first) ?? one)];

    const killedAt = performance.now();
    candidates.get(first)?.signal('SIGKILL');
    candidates.delete(first);
    const [second] = await whenElected(candidates, terms[0]);
    // etcd may let a lease live for half a second longer, and the machine is busy.
    expect(performance.now() - killedAt).toBeLessThan(ttlMs + 6_000);
    const leader = candidates.get(second) ?? one;
    terms.push(termOf(leader));

    leader.signal('SIGTERM');
    expect(await leader.ended).toEqual({ code: 0, signal: null, stderr: '' });
    expect(linesOf(leader)).toContain(`term ${String(terms[1])} ends`);
    candidates.delete(second);
    const [third] = await whenElected(candidates, terms[1]);
    const last = candidates.get(third) ?? one;
    terms.push(termOf(last));

    expect(terms).toEqual([...new Set(terms)].sort((a, b) => a - b));
    last.signal('SIGTERM');
    expect(await last.ended).toEqual({ code: 0, signal: null, stderr: '' });
  });

  test('a leader that was frozen for longer than the TTL ends its term when it wakes up, and follows the next leader', async () => {
    await using server = await startEtcd();
    await using one = start(server, 'http://one');
    await using two = start(server, 'http://two');
    const candidates = new Map([
      ['http://one', one],
      ['http://two', two],
    ]);
    const [first, [other = '']] = await whenElected(candidates);
    const [leader, next] = [candidates.get(first) ?? one, candidates.get(other) ?? two];
    const term = termOf(leader);

    leader.signal('SIGSTOP');
    await next.reached(/^term \d+ begins$/);
    expect(termOf(next)).toBeGreaterThan(term);
    leader.signal('SIGCONT');

    await leader.reached(`term ${String(term)} ends`);
    await leader.reached(`leader: ${other}`);
    next.signal('SIGTERM');
    expect(await next.ended).toEqual({ code: 0, signal: null, stderr: '' });
    await eventually(() => {
      expect(termOf(leader)).toBeGreaterThan(termOf(next));
    });
  });

  test('SIGTERM ends a process that campaigns, and the leader goes on', async () => {
    await using server = await startEtcd();
    await using leader = start(server, 'http://leader');
    await leader.reached(/^term \d+ begins$/);
    await using follower = start(server, 'http://follower');
    await follower.reached('leader: http://leader');
    await sleep(200);

    follower.signal('SIGTERM');

    expect(await follower.ended).toEqual({ code: 0, signal: null, stderr: '' });
    expect(leader.isRunning).toBe(true);
    expect(linesOf(leader)).not.toContainEqual(expect.stringMatching(/ends$/));
  });

  test.skipIf(!canControl)('after an outage beyond the TTL a new term begins, and meanwhile nobody follows the old leader', async () => {
    await using server = await startEtcd();
    const member = memberOf(server);
    await using one = start(server, 'http://one');
    await using two = start(server, 'http://two');
    const candidates = new Map([
      ['http://one', one],
      ['http://two', two],
    ]);
    const [first] = await whenElected(candidates);
    const leader = candidates.get(first) ?? one;
    const term = termOf(leader);

    await member.freeze();
    await leader.reached(`term ${String(term)} ends`);
    await Promise.all([one.reached('leader: unknown'), two.reached('leader: unknown')]);
    member.thaw();

    await whenElected(candidates, term);
    expect([one.isRunning, two.isRunning]).toEqual([true, true]);
  });
});
