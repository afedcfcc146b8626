/** Tests of the batcher: which commits share a request, and which result each gets. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ITxnRequest } from 'etcd3';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EtcdRefusedError, EtcdUnavailableError, OutcomeUnknownError } from '../../src/errors.ts';
import { buildDeletion, buildLook } from '../../src/entry/transactions.ts';
import { Batcher, type Sender } from '../../src/store/etcd/batcher.ts';
import { CallFailure, toRefusal } from '../../src/store/etcd/call-failure.ts';
import type { Host } from '../../src/store/etcd/host.ts';
import { encodeTransaction } from '../../src/store/etcd/wire/encode.ts';
import { messagesOf } from '../support/etcd/messages.ts';

const { readRequest, writeAnswer } = (await messagesOf('KV'))('Txn');

/** A commit that puts these keys. The tests recognize it by them. */
const putting = (...ids: string[]) => ({
  request: encodeTransaction({ compare: [], then: ids.map((key) => ({ put: { key, value: '', leaseId: '0' } })), otherwise: [] }),
  operations: ids.length,
});

// A field that is not set is null in a decoded message.
const idsIn = ({ success = [] }: ITxnRequest): string[] =>
  success.flatMap(({ request_txn: inner, request_put: put }) => (put == null ? idsIn(inner ?? {}) : [String(put.key)]));

const isBatch = ({ success = [] }: ITxnRequest): boolean => success.some(({ request_put: put }) => put == null);

/** A fake etcd. It calls `respond` for each request, and rejects the request if `respond` throws. */
class Etcd implements Sender {
  readonly requests: string[][] = [];
  /** The time limit of each request. */
  readonly limits: number[] = [];
  mostInFlight = 0;
  #inFlight = 0;
  readonly #respond: (request: ITxnRequest) => unknown;
  readonly tryMs = 1_000;
  readonly current: Host;

  constructor(respond: (request: ITxnRequest) => unknown = () => undefined) {
    this.#respond = respond;
    this.current = {
      address: 'a:1',
      checksNestedPermissions: () => true,
      call: (_timeoutMs: number, _method: string, request: Buffer) => this.#txn(readRequest(request) as ITxnRequest),
    } as unknown as Host;
  }

  async request<T>(attempt: (host: Host, timeoutMs: number, tries: number) => Promise<T>, { timeoutMs = 0 } = {}): Promise<T> {
    this.limits.push(timeoutMs);
    this.#inFlight += 1;
    this.mostInFlight = Math.max(this.mostInFlight, this.#inFlight);
    try {
      return await attempt(this.current, 1_000, 0);
    } catch (error) {
      throw error instanceof CallFailure ? toRefusal(error, 'locks/') : error;
    } finally {
      this.#inFlight -= 1;
    }
  }

  async #txn(request: ITxnRequest): Promise<Buffer> {
    this.requests.push(idsIn(request));
    await new Promise((resolve) => setImmediate(resolve));
    await this.#respond(request);
    const found = (id: string) => ({ response_range: { kvs: [{ key: Buffer.from(id) }] } });
    const responses = (request.success ?? []).map(({ request_txn: inner, request_put: put }) =>
      put == null ? { response_txn: { succeeded: true, responses: idsIn(inner ?? {}).map(found) } } : found(String(put.key)),
    );
    return writeAnswer({ header: { revision: '7' }, succeeded: true, responses });
  }
}

const commitAll = (batcher: Batcher, commits: readonly { id: string; lane: string; once?: boolean; isIndependent?: boolean }[]) =>
  Promise.allSettled(commits.map(({ id, ...how }) => batcher.commit({ ...putting(id), ...how, timeoutMs: 1_000 })));

const many = (count: number) => Array.from({ length: count }, (_, index) => ({ id: `c${String(index)}`, lane: `n${String(index)}` }));

describe('Batcher', () => {
  test('commit() never puts two commits of one lane into one request, and resolves each with its own result', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 150 }), { maxLength: 4 }), async (rounds) => {
        const etcd = new Etcd();
        const batcher = new Batcher(etcd);
        const laneOf = new Map<string, string>();
        const all: Promise<unknown>[] = [];

        for (const [round, lanes] of rounds.entries()) {
          const commits = lanes.map((lane, index) => ({ id: `${String(round)}.${String(index)}`, lane: String(lane) }));
          for (const { id, lane } of commits) laneOf.set(id, lane);
          all.push(
            commitAll(batcher, commits).then((results) => {
              for (const [index, result] of results.entries()) {
                expect(result).toMatchObject({ value: { ranges: [[{ key: commits[index]?.id }]] } });
              }
            }),
          );
          if (round % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        await Promise.all(all);

        expect(etcd.requests.flat().sort()).toEqual([...laneOf.keys()].sort());
        for (const ids of etcd.requests) {
          const lanes = ids.map((id) => laneOf.get(id));
          expect(new Set(lanes).size).toBe(lanes.length);
          expect(ids.length).toBeLessThanOrEqual(64);
        }
        expect(etcd.mostInFlight).toBeLessThanOrEqual(2);
      }),
      { numRuns: 60 },
    );
  });

  test.each([1, 2])('commit() rejects %i commits with once with OutcomeUnknownError when the response is empty', async (count) => {
    const etcd = new Etcd();
    Object.assign(etcd, {
      current: { checksNestedPermissions: () => true, call: () => Promise.resolve(Buffer.alloc(0)) },
      request: async <T>(attempt: (host: Host, timeoutMs: number, tries: number) => Promise<T>) => {
        try {
          return await attempt(etcd.current, 1_000, 0);
        } catch {
          throw new OutcomeUnknownError([]); // as Hosts does for a request with `once`
        }
      },
    });

    const results = await commitAll(
      new Batcher(etcd),
      many(count).map((one) => ({ ...one, once: true })),
    );

    expect(results.map((result) => result.status === 'rejected' && (result.reason as unknown))).toEqual(
      Array.from({ length: count }, () => expect.any(OutcomeUnknownError) as unknown),
    );
  });

  test('commit() leaves the deadline of a commit of a refused batch to its own request', async () => {
    const etcd = new Etcd(async (request) => {
      if (isBatch(request)) throw new CallFailure(3, 'etcdserver: duplicate key given in txn request');
      await sleep(700);
    });
    const batcher = new Batcher(etcd);

    const results = await Promise.allSettled(many(2).map(({ id, lane }) => batcher.commit({ ...putting(id), lane, timeoutMs: 500 })));

    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
  });

  test('commit() puts independent commits of one lane into one request, and keeps their order with the others of the lane', async () => {
    const etcd = new Etcd();

    await commitAll(new Batcher(etcd), [
      { id: 'a', lane: 'n', isIndependent: true },
      { id: 'b', lane: 'n', isIndependent: true },
      { id: 'c', lane: 'n' },
      { id: 'd', lane: 'n', isIndependent: true },
      { id: 'e', lane: 'other' },
    ]);

    // The first two requests are sent together, in either order.
    expect(etcd.requests.slice(0, 2).sort()).toEqual([['a', 'b', 'e'], ['c']]);
    expect(etcd.requests.slice(2)).toEqual([['d']]);
  });

  test('commit() never puts a look and a release of one name into one request, in either order', async () => {
    const entry = { queue: { key: 'locks/a/', rangeEnd: 'locks/a0' }, key: 'locks/a/1-1', slots: 1 };
    const look = buildLook(entry, 5n);
    const release = buildDeletion({ ...entry, key: 'locks/a/1-2' }, 4n);

    for (const both of [
      [look, release],
      [release, look],
    ]) {
      const etcd = new Etcd();
      const batcher = new Batcher(etcd);
      await Promise.all(
        both.map(({ lane = '', isIndependent, ...rest }) =>
          batcher.commit({ request: encodeTransaction(rest), operations: 2, lane, isIndependent, timeoutMs: 1_000 }),
        ),
      );
      expect(etcd.requests).toHaveLength(2);
    }
  });

  test('commit() sends a single commit without a batch around it', async () => {
    const plain: boolean[] = [];
    const batcher = new Batcher(new Etcd((request) => plain.push(!isBatch(request))));

    await commitAll(batcher, many(1));

    expect(plain).toEqual([true]);
  });

  test('commit() resolves each commit of a batch with the revision of the batch', async () => {
    const batcher = new Batcher(new Etcd());

    const results = await commitAll(batcher, many(3));

    expect(results.map((result) => result.status === 'fulfilled' && result.value.revision)).toEqual([7n, 7n, 7n]);
  });

  test('commit() rejects only the commit that etcd refuses when it was in a batch', async () => {
    const etcd = new Etcd((request) => {
      if (idsIn(request).includes('c1')) throw new CallFailure(7, 'etcdserver: permission denied');
    });

    const results = await commitAll(new Batcher(etcd), many(4));

    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
    expect(etcd.requests.map(({ length }) => length)).toEqual([4, 1, 1, 1, 1]);
  });

  test('commit() makes smaller batches when etcd refuses one for too many operations', async () => {
    const etcd = new Etcd((request) => {
      if (isBatch(request) && idsIn(request).length > 8) throw new CallFailure(3, 'etcdserver: too many operations in txn request');
    });
    const batcher = new Batcher(etcd);

    for (let round = 0; round < 4; round += 1) await commitAll(batcher, many(64));
    etcd.requests.length = 0;
    const results = await commitAll(batcher, many(64));

    expect(results.every(({ status }) => status === 'fulfilled')).toBe(true);
    expect(etcd.requests.map(({ length }) => length)).toEqual(Array.from({ length: 8 }, () => 8));
  });

  test('commit() makes smaller batches when etcd refuses one for its size', async () => {
    let isSmallEnough = false;
    const etcd = new Etcd((request) => {
      if (!isSmallEnough && isBatch(request)) throw new CallFailure(3, 'etcdserver: request is too large');
    });
    const batcher = new Batcher(etcd);
    const large = (id: string) => ({ ...putting(id, 'x'.repeat(100 * 1024)), lane: id, timeoutMs: 1_000 });
    const commitLarge = () => Promise.all(['a', 'b', 'c', 'd'].map((id) => batcher.commit(large(id))));

    await commitLarge();
    isSmallEnough = true;
    etcd.requests.length = 0;
    await commitLarge();

    expect(etcd.requests.map((ids) => ids.length)).toEqual([4, 4]);
  });

  test('commit() sends all commits at once when etcd accepts no batch at all', async () => {
    const etcd = new Etcd((request) => {
      if (isBatch(request)) throw new CallFailure(3, 'etcdserver: too many operations in txn request');
    });
    const batcher = new Batcher(etcd);

    for (let round = 0; round < 7; round += 1) await commitAll(batcher, many(64));
    etcd.mostInFlight = 0;
    await commitAll(batcher, many(64));

    expect(etcd.mostInFlight).toBe(64);
  });

  test('commit() rejects commits with once with OutcomeUnknownError after a lost response, and sends the others again', async () => {
    let isLost = true;
    const etcd = new Etcd(() => {
      if (!isLost) return;
      isLost = false;
      throw new OutcomeUnknownError([{ host: 'a:1', reason: 'no answer' }]);
    });

    const results = await commitAll(new Batcher(etcd), [
      { id: 'a', lane: 'a', once: true },
      { id: 'b', lane: 'b' },
    ]);

    expect(results).toMatchObject([{ status: 'rejected', reason: { name: 'OutcomeUnknownError' } }, { status: 'fulfilled' }]);
    expect(etcd.requests).toEqual([['a', 'b'], ['b']]);
  });

  test('commit() rejects all commits of a batch when no host responds within their time limits', async () => {
    const etcd = new Etcd(async () => {
      await sleep(45);
      throw new EtcdUnavailableError(50, [{ host: 'a:1', reason: 'refused' }]);
    });
    const batcher = new Batcher(etcd);

    const results = await Promise.allSettled(['a', 'b'].map((id) => batcher.commit({ ...putting(id), lane: id, timeoutMs: 50 })));

    expect(results).toMatchObject([{ reason: { code: 'ETCD_UNAVAILABLE' } }, { reason: { code: 'ETCD_UNAVAILABLE' } }]);
    expect(etcd.requests).toHaveLength(1);
  });

  test.each([0, 1, 2])('commit() rejects a commit with too little time beside %i others, and does not send it', async (others) => {
    const etcd = new Etcd();
    const batcher = new Batcher(etcd);

    const late = batcher.commit({ ...putting('late'), lane: 'late', timeoutMs: 9 });
    const results = commitAll(batcher, many(others));

    await expect(late).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE', message: expect.stringContaining('within 9 ms') as string });
    expect((await results).map(({ status }) => status)).toEqual(many(others).map(() => 'fulfilled'));
    expect(etcd.requests.flat()).toEqual(many(others).map(({ id }) => id));
  });

  test('commit() rejects each commit at its own deadline, and keeps the deadlines of the others in the batch', async () => {
    const etcd = new Etcd(() => sleep(150));
    const batcher = new Batcher(etcd);
    const commit = (id: string, timeoutMs: number, once: boolean) => batcher.commit({ ...putting(id), lane: id, once, timeoutMs });

    const startedAt = performance.now();
    const [creation, look, other] = [commit('creation', 60, true), commit('look', 60, false), commit('other', 1_000, true)];
    const reasons = [{ host: 'a:1', reason: expect.stringMatching(/^no response within \d+ ms$/) as string }];

    await expect(creation).rejects.toMatchObject({ name: 'OutcomeUnknownError', hosts: reasons });
    await expect(look).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE', hosts: reasons });
    expect(performance.now() - startedAt).toBeLessThan(140);
    expect(await other).toMatchObject({ succeeded: true });
    expect(etcd.requests).toEqual([['creation', 'look', 'other']]);
    expect(etcd.limits[0]).toBeGreaterThan(900);
  });

  test('commit() removes a commit whose time is up from the next try of its batch', async () => {
    const etcd = new Etcd();
    const request = etcd.request.bind(etcd);
    // The first try fails before it is sent, as at a host that refuses connections.
    Object.assign(etcd, {
      request: async (attempt: Parameters<typeof request>[0]) => {
        await sleep(100);
        return request(attempt);
      },
    });
    const batcher = new Batcher(etcd);

    const short = batcher.commit({ ...putting('short'), lane: 'short', once: true, timeoutMs: 50 });
    const results = commitAll(batcher, many(2));

    // No request contained it.
    await expect(short).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    expect((await results).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
    expect(etcd.requests).toEqual([['c0', 'c1']]);
  });

  test('commit() does not send a commit whose time is up during the check for nested permissions', async () => {
    const etcd = new Etcd();
    const checks = [true, sleep(100, true)];
    Object.assign(etcd.current, { checksNestedPermissions: () => checks.shift() ?? true });
    const batcher = new Batcher(etcd);

    const short = batcher.commit({ ...putting('short'), lane: 'short', once: true, timeoutMs: 50 });
    const results = commitAll(batcher, many(2));

    await expect(short).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE' });
    expect((await results).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
    expect(etcd.requests).toEqual([['c0', 'c1']]);
  });

  test('commit() rejects at its deadline while it still waits for a request', async () => {
    const etcd = new Etcd(() => sleep(150));
    const batcher = new Batcher(etcd);
    const first = commitAll(batcher, many(2));
    await sleep(5);
    const second = commitAll(batcher, many(2));
    await sleep(5);

    const startedAt = performance.now();
    await expect(batcher.commit({ ...putting('late'), lane: 'late', once: true, timeoutMs: 50 })).rejects.toMatchObject({
      code: 'ETCD_UNAVAILABLE',
      hosts: [],
    });

    expect(performance.now() - startedAt).toBeLessThan(120);
    expect((await Promise.all([first, second])).flat().map(({ status }) => status)).toEqual(Array.from({ length: 4 }, () => 'fulfilled'));
    expect(etcd.requests.flat()).not.toContain('late');
  });

  test('commit() sends a commit alone if it is too large for a batch', async () => {
    const large = putting(...Array.from({ length: 61 }, (_, index) => `l${String(index)}`));
    const etcd = new Etcd();
    const batcher = new Batcher(etcd);

    await Promise.all([commitAll(batcher, many(3)), batcher.commit({ ...large, lane: 'large', timeoutMs: 1_000 })]);

    expect(etcd.requests.map(({ length }) => length).sort()).toEqual([3, 61]);
  });

  test('commit() does not send a batch to a host that does not check permissions inside one', async () => {
    const etcd = new Etcd();
    Object.assign(etcd.current, { checksNestedPermissions: () => false });

    const results = await commitAll(new Batcher(etcd), many(3));

    expect(results.every(({ status }) => status === 'fulfilled')).toBe(true);
    expect(etcd.requests).toEqual([['c0'], ['c1'], ['c2']]);
  });

  test('commit() rejects a single commit with the reason of etcd', async () => {
    const batcher = new Batcher(
      new Etcd(() => {
        throw new CallFailure(3, 'etcdserver: request is too large');
      }),
    );

    await expect(batcher.commit({ ...putting('a'), lane: 'a', timeoutMs: 1_000 })).rejects.toBeInstanceOf(EtcdRefusedError);
  });
});
