/** Any mixture of requests of several clients, thieves among them, whose creations are lost, late or unheard. */
import { webLocks } from 'etcd-locker/web-locks';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { splitQueue } from '../../src/entry/admission.ts';
import { queueRange } from '../../src/keys.ts';
import {
  after,
  answeredAfter,
  type FaultyMemory,
  calls,
  type Fault,
  lostAnswer,
  lostRequest,
  openFaultyMemory,
} from '../support/fixtures/faults.ts';
import { type Asked, ask } from '../support/fixtures/web-locks.ts';

interface Step {
  readonly client: number;
  readonly options: { readonly steal?: boolean; readonly ifAvailable?: boolean; readonly mode?: 'exclusive' | 'shared' };
  readonly fault: ((memory: FaultyMemory, ms: number) => Fault) | undefined;
  readonly faultMs: number;
  /** Until the next step. */
  readonly pauseMs: number;
  /** Which of the callbacks before ends then. */
  readonly ends: number | undefined;
}

const faults: readonly Step['fault'][] = [
  () => lostAnswer,
  () => lostRequest,
  (memory, ms) => answeredAfter(memory.clock, ms),
  (memory, ms) => answeredAfter(memory.clock, ms, false),
  (memory, ms) => after(memory.clock, ms),
  // Given up, and applied in spite of it.
  (memory, ms) => (send, call) => {
    memory.clock.setTimer(ms, () => void send().catch(() => undefined));
    return lostRequest(send, call);
  },
];

const steps = fc.array(
  fc.record<Step>({
    client: fc.nat({ max: 2 }),
    options: fc.oneof(
      { weight: 3, arbitrary: fc.constant({ steal: true }) },
      { weight: 3, arbitrary: fc.constantFrom({}, { mode: 'shared' as const }, { ifAvailable: true }) },
    ),
    fault: fc.option(fc.constantFrom(...faults), { nil: undefined }),
    faultMs: fc.integer({ min: 1, max: 900 }),
    pauseMs: fc.constantFrom(0, 0, 1, 100, 600),
    ends: fc.option(fc.nat({ max: 9 }), { nil: undefined }),
  }),
  { minLength: 2, maxLength: 10 },
);

function holders(memory: FaultyMemory): bigint[] {
  const range = queueRange('locks/', 'a');
  const { ranges } = memory.etcd.commit({ compare: [], then: [{ range }], otherwise: [] });
  return splitQueue(range, ranges[0] ?? []).holders.map(({ createRevision }) => createRevision);
}

const believes = ({ lock, aborts, fate }: Asked): boolean => lock !== null && lock !== undefined && aborts === 0 && !fate.isSettled;

function check(memory: FaultyMemory, all: readonly Asked[], ended: ReadonlySet<Asked>): void {
  const admitted = holders(memory);
  for (const asked of all) {
    const { granted, aborts, fate, lock } = asked;
    expect(granted).toBeLessThanOrEqual(1);
    expect(aborts).toBeLessThanOrEqual(1);
    if (aborts === 1) expect(fate).toMatchObject({ isSettled: true, error: { name: 'AbortError' } });
    if (aborts === 1) expect(fate.error).toBe(lock?.signal.reason);
    if (aborts === 0) expect(fate.error).toBeUndefined();
    // Whoever believes that it holds does so in etcd too; so there are never two.
    if (believes(asked) && !ended.has(asked)) expect(admitted).toContain(lock?.fencingToken);
  }
}

test('at any moment whoever has not been told of a theft holds in etcd, and everybody is served or robbed once', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (given) => {
      await using memory = await openFaultyMemory();
      const clients = [1, 2, 3].map(() => webLocks(memory.createLocker()));
      await Promise.all(clients.map((locks) => locks.request('other', () => undefined)));
      const all: Asked[] = [];
      const ended = new Set<Asked>();
      const end = (asked: Asked | undefined): void => {
        if (asked === undefined) return;
        ended.add(asked);
        asked.end('done');
      };
      for (const { client, options, fault, faultMs, pauseMs, ends } of given) {
        if (fault !== undefined) memory.store.next(calls.creation, fault(memory, faultMs));
        const locks = clients[client];
        if (locks !== undefined) all.push(ask(locks, 'a', options));
        if (ends !== undefined) end(all[ends]);
        await memory.clock.advance(pauseMs);
        await memory.clock.settle();
        check(memory, all, ended);
      }

      for (const asked of all) end(asked);
      await memory.clock.advance(10_000);

      check(memory, all, ended);
      for (const { fate, aborts, granted } of all) {
        expect(fate.isSettled).toBe(true);
        expect(granted).toBe(1);
        expect(fate.value).toBe(aborts === 0 ? 'done' : undefined);
      }
      expect(memory.entries('a')).toEqual([]);
    }),
    { numRuns: 100 },
  );
});
