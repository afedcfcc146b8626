/** Tests of withLock() when the lock is lost while its function runs. */
import { execFile, spawn } from 'node:child_process';
import { EventEmitter, on, once } from 'node:events';
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFile } from 'node:fs/promises';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { scheduler, setInterval, setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { isLockerError, type Lock } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { openFaultyMemory } from '../support/fixtures/faults.ts';
import { errorOf } from '../support/fixtures/holding.ts';

/** Runs `fn` under a lock, and deletes the entry of the lock once `fn` has begun. Returns the error of withLock(). */
async function loseWhile(fn: (lock: Lock) => Promise<unknown>): Promise<unknown> {
  await using memory = await openFaultyMemory();
  const running = errorOf(memory.createLocker().withLock('a', fn));
  await memory.clock.settle();
  for (const { key } of memory.entries('a')) memory.etcd.commit({ compare: [], then: [{ delete: { key } }], otherwise: [] });
  await memory.clock.advance(6_000);
  return await running;
}

const aborted = (signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve) => {
    signal.addEventListener('abort', resolve, { once: true });
  });
const never = new Readable({ read: () => undefined });
const loss = { code: 'LOCK_LOST', lockName: 'a', reason: 'deleted' };

const apis: Record<string, (signal: AbortSignal) => Promise<unknown>> = {
  'timers/promises setTimeout': (signal) => setTimeout(600_000, undefined, { signal }),
  'timers/promises scheduler.wait': (signal) => scheduler.wait(600_000, { signal }),
  'timers/promises setInterval': async (signal) => {
    for await (const tick of setInterval(600_000, undefined, { signal })) return tick;
    return undefined;
  },
  'events.once': (signal) => once(new EventEmitter(), 'event', { signal }),
  'events.on': async (signal) => {
    for await (const event of on(new EventEmitter(), 'event', { signal })) return event as unknown;
    return undefined;
  },
  'stream.pipeline': (signal) => pipeline(never, new Writable({ write: () => undefined }), { signal }),
  'child_process.execFile': (signal) => promisify(execFile)(process.execPath, ['--eval', 'setTimeout(() => {}, 600_000)'], { signal }),
  'child_process.spawn': async (signal) => {
    const child = spawn(process.execPath, ['--eval', 'setTimeout(() => {}, 600_000)'], { signal });
    await once(child, 'exit');
  },
  'fs.readFile after the loss': async (signal) => {
    await aborted(signal);
    return readFile(process.execPath, { signal });
  },
  'signal.throwIfAborted': async (signal) => {
    await aborted(signal);
    signal.throwIfAborted();
  },
  'a rejection with the reason': (signal) =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        reject(signal.reason as Error);
      });
    }),
};

describe('withLock() whose lock was lost', () => {
  test('rejects with the loss when its function resolved', async () => {
    expect(await loseWhile(({ signal }) => aborted(signal))).toMatchObject(loss);
  });

  test('rejects with the loss when its function never looked at the lock', async () => {
    await using memory = await openFaultyMemory();
    const running = errorOf(
      memory.createLocker().withLock('a', () => {
        memory.clock.freeze(20_000);
        return 'done';
      }),
    );
    await memory.clock.advance(0);

    expect(await running).toMatchObject({ code: 'LOCK_LOST', reason: 'expired' });
  });

  test.each(Object.keys(apis))('rejects with the loss when %s ended by its signal', async (api) => {
    let thrown: unknown;
    const error = await loseWhile(async ({ signal }) => {
      try {
        return await apis[api]?.(signal);
      } catch (failure) {
        thrown = failure;
        throw failure;
      }
    });

    expect(error).toMatchObject(loss);
    expect(isLockerError(error)).toBe(true);
    // An AbortError stays the cause, and has the first loss as its own cause.
    if (thrown !== error) expect(error).toMatchObject({ cause: thrown });
  });

  test('rejects with the loss when fetch or http.get ended by its signal', async () => {
    const server = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/`;
    try {
      expect(await loseWhile(({ signal }) => fetch(url, { signal }))).toMatchObject(loss);
      expect(await loseWhile(({ signal }) => once(get(url, { signal }), 'response'))).toMatchObject(loss);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  test('rejects with the error of its function when that is not an abort of the signal', async () => {
    const own = new Error('mine');
    const otherReason = new Error('another signal');
    const other = AbortSignal.abort(otherReason);

    expect(
      await loseWhile(async ({ signal }) => {
        await aborted(signal);
        throw own;
      }),
    ).toBe(own);
    expect(
      await loseWhile(async ({ signal }) => {
        await aborted(signal);
        await setTimeout(1, undefined, { signal: other });
      }),
    ).toMatchObject({ name: 'AbortError', cause: otherReason });
  });
});

describe('withLock() whose lock was not lost', () => {
  test('resolves when its function has released the lock', async () => {
    await using memory = await openFaultyMemory();

    const result = await memory.createLocker().withLock('a', async (lock) => {
      await lock.release();
      return 'done';
    });

    expect(result).toBe('done');
  });

  test('rejects with an AbortError of its function', async () => {
    await using memory = await openFaultyMemory();
    const error = new DOMException('mine', 'AbortError');

    expect(await errorOf(memory.createLocker().withLock('a', () => Promise.reject(error)))).toBe(error);
  });
});

describe('a missing function', () => {
  test.each(['withLock', 'lead'] as const)('%s() rejects before it sends a request', async (method) => {
    await using memory = await openFaultyMemory();
    const call = memory.createLocker()[method] as (...args: readonly unknown[]) => Promise<unknown>;
    const options = { value: 'mine' };

    for (const rest of [[], [options], [options, 'text'], [() => 1, options]]) {
      const error = await errorOf(call('a', ...rest));
      expect(error).toMatchObject({ code: 'INVALID_OPTIONS', issues: [{ path: 'fn' }] });
      expect(error).toHaveProperty('message', expect.stringContaining('fn: expected a function as the last argument, got'));
    }
    expect(memory.store.calls).toEqual([]);
  });
});
