/** Tests of random requests of several clients, some with `steal`, whose creations are lost, late or without a response. */
import { webLocks } from 'etcd-locker/web-locks';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { splitQueue } from '../../src/entry/admission.ts';
import { queueRange } from '../../src/keys.ts';
import {
  after,
  respondsAfter,
  type FaultyMemory,
  calls,
  type Fault,
  lostResponse,
  lostRequest,
  openFaultyMemory,
} from '../support/fixtures/faults.ts';
import { type TrackedRequest, trackRequest } from '../support/fixtures/web-locks.ts';

interface Step {
  readonly client: number;
  readonly options: { readonly steal?: boolean; readonly ifAvailable?: boolean; readonly mode?: 'exclusive' | 'shared' };
  readonly fault: ((memory: FaultyMemory, ms: number) => Fault) | undefined;
  readonly faultMs: number;
  /** The time until the next step. */
  readonly pauseMs: number;
  /** The index of an earlier request whose callback is finished then. */
  readonly finishes: number | undefined;
}

const faults: readonly Step['fault'][] = [
  () => lostResponse,
  () => lostRequest,
  (memory, ms) => respondsAfter(memory.clock, ms),
  (memory, ms) => respondsAfter(memory.clock, ms, false),
  (memory, ms) => after(memory.clock, ms),
  // The call fails, and etcd applies the request later.
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
    finishes: fc.option(fc.nat({ max: 9 }), { nil: undefined }),
  }),
  { minLength: 2, maxLength: 10 },
);

function holders(memory: FaultyMemory): bigint[] {
  const range = queueRange('locks/', 'a');
  const { ranges } = memory.etcd.commit({ compare: [], then: [{ range }], otherwise: [] });
  return splitQueue(range, ranges[0] ?? []).holders.map(({ createRevision }) => createRevision);
}

const countsAsHeld = ({ lock, aborts, outcome }: TrackedRequest): boolean =>
  lock !== null && lock !== undefined && aborts === 0 && !outcome.isSettled;

function check(memory: FaultyMemory, all: readonly TrackedRequest[], ended: ReadonlySet<TrackedRequest>): void {
  const admitted = holders(memory);
  for (const request of all) {
    const { granted, aborts, outcome, lock } = request;
    expect(granted).toBeLessThanOrEqual(1);
    expect(aborts).toBeLessThanOrEqual(1);
    if (aborts === 1) expect(outcome).toMatchObject({ isSettled: true, error: { name: 'AbortError' } });
    if (aborts === 1) expect(outcome.error).toBe(lock?.signal.reason);
    if (aborts === 0) expect(outcome.error).toBeUndefined();
    // Each request that counts as held is a holder in etcd, so there are never two.
    if (countsAsHeld(request) && !ended.has(request)) expect(admitted).toContain(lock?.fencingToken);
  }
}

test('each request that was not notified of a steal is a holder in etcd, and each is served once or aborted once', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (given) => {
      await using memory = await openFaultyMemory();
      const clients = [1, 2, 3].map(() => webLocks(memory.createLocker()));
      await Promise.all(clients.map((locks) => locks.request('other', () => undefined)));
      const all: TrackedRequest[] = [];
      const ended = new Set<TrackedRequest>();
      const end = (request: TrackedRequest | undefined): void => {
        if (request === undefined) return;
        ended.add(request);
        request.finish('done');
      };
      for (const { client, options, fault, faultMs, pauseMs, finishes: ends } of given) {
        if (fault !== undefined) memory.store.next(calls.creation, fault(memory, faultMs));
        const locks = clients[client];
        if (locks !== undefined) all.push(trackRequest(locks, 'a', options));
        if (ends !== undefined) end(all[ends]);
        await memory.clock.advance(pauseMs);
        await memory.clock.settle();
        check(memory, all, ended);
      }

      for (const request of all) end(request);
      await memory.clock.advance(10_000);

      check(memory, all, ended);
      for (const { outcome, aborts, granted } of all) {
        expect(outcome.isSettled).toBe(true);
        expect(granted).toBe(1);
        expect(outcome.value).toBe(aborts === 0 ? 'done' : undefined);
      }
      expect(memory.entries('a')).toEqual([]);
    }),
    { numRuns: 100 },
  );
});
