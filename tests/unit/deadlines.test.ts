/** Tests of the deadlines of all commits, which share one timer. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Deadlines } from '../../src/store/etcd/deadlines.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const limited = (delayMs: number) => ({ until: performance.now() + delayMs, expire: vi.fn() });

describe('Deadlines', () => {
  test('add() expires each item at its own time, with one timer for all', () => {
    const [late, early] = [limited(300), limited(100)];
    const pending = new Set([late, early]);
    for (const item of pending) item.expire.mockImplementation(() => pending.delete(item));
    const deadlines = new Deadlines(() => pending);
    deadlines.add(late);
    deadlines.add(early);
    expect(vi.getTimerCount()).toBe(1);

    vi.advanceTimersByTime(100);
    expect([early.expire, late.expire].map(({ mock }) => mock.calls.length)).toEqual([1, 0]);
    vi.advanceTimersByTime(200);

    expect(late.expire).toHaveBeenCalledOnce();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('an item that is no longer pending does not expire', () => {
    const item = limited(100);
    const pending = new Set([item]);
    const deadlines = new Deadlines(() => pending);
    deadlines.add(item);
    pending.delete(item);

    vi.advanceTimersByTime(1_000);

    expect(item.expire).not.toHaveBeenCalled();
  });

  test('close() leaves no timer', () => {
    const deadlines = new Deadlines(() => []);
    deadlines.add(limited(100));

    deadlines.close();

    expect(vi.getTimerCount()).toBe(0);
  });
});
