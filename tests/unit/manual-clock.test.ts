/** Tests of the manual clock, the system clock and the hold on the process. */
import { createLocker } from 'etcd-locker';
import { ManualClock, memoryStore } from 'etcd-locker/testing';
import { describe, expect, test } from 'vitest';
import { addMs, keepAlive, msUntil, systemClock } from '../../src/clock.ts';

describe('ManualClock', () => {
  test('advance() calls each timer at its own time, in order, including timers that are set meanwhile', async () => {
    const clock = new ManualClock();
    const start = clock.now().monotonicMs;
    const seen: string[] = [];
    const note = (name: string) => () => seen.push(`${name} ${String(clock.now().monotonicMs - start)}`);
    clock.setTimer(30, note('c'));
    clock.setTimer(10, () => {
      note('a')();
      clock.setTimer(10, note('b'));
    });
    clock.setTimer(41, note('d'));

    await clock.advance(40);

    expect(seen).toEqual(['a 10', 'b 20', 'c 30']);
    expect(clock.timerCount).toBe(1);
    expect(clock.now().monotonicMs - start).toBe(40);
  });

  test('freeze() during advance() is not undone', async () => {
    const clock = new ManualClock();
    const start = clock.now().monotonicMs;
    clock.setTimer(10, () => {
      clock.freeze(1_000);
    });

    await clock.advance(20);

    expect(clock.now().monotonicMs - start).toBe(1_010);
  });

  test('a cancelled timer does not fire', async () => {
    const clock = new ManualClock();
    const cancel = clock.setTimer(10, () => expect.unreachable('the timer was cancelled'));

    cancel();
    await clock.advance(20);

    expect(clock.timerCount).toBe(0);
  });

  test('freeze() moves both clocks, and calls no timer before the next advance()', async () => {
    const clock = new ManualClock();
    const before = clock.now();
    let calls = 0;
    clock.setTimer(10, () => (calls += 1));

    clock.freeze(100);
    expect(calls).toBe(0);
    expect(clock.now()).toEqual(addMs(before, 100));
    await clock.advance(0);

    expect(calls).toBe(1);
  });

  test('jumpWall() moves the wall clock alone', () => {
    const clock = new ManualClock();
    const { monotonicMs, wallMs } = clock.now();

    clock.jumpWall(-5_000);

    expect(clock.now()).toEqual({ monotonicMs, wallMs: wallMs - 5_000 });
  });

  test('isHeld is true until every hold has ended, even if one of them is ended twice', () => {
    const clock = new ManualClock();
    const [one, other] = [clock.hold(), clock.hold()];

    one();
    one();
    expect(clock.isHeld).toBe(true);
    other();

    expect(clock.isHeld).toBe(false);
  });

  test('memoryStore({ clock }) makes its lockers use that clock', async () => {
    const clock = new ManualClock();
    await using locker = createLocker({ store: memoryStore({ clock }) });
    const lock = await locker.lock('a');

    clock.freeze(15_000);

    expect(lock.held).toBe(false);
  });
});

describe('the clocks', () => {
  test('msUntil() uses the clock that is closer to the deadline', () => {
    const now = { monotonicMs: 100, wallMs: 5_000 };

    expect(msUntil(addMs(now, 50), now)).toBe(50);
    expect(msUntil(addMs(now, 50), { monotonicMs: 140, wallMs: 5_000 })).toBe(10);
    expect(msUntil(addMs(now, 50), { monotonicMs: 100, wallMs: 5_060 })).toBe(-10);
  });

  test('systemClock reads both clocks', () => {
    const { monotonicMs, wallMs } = systemClock.now();

    expect(Math.abs(wallMs - Date.now())).toBeLessThan(1_000);
    expect(Math.abs(monotonicMs - performance.now())).toBeLessThan(1_000);
  });

  test('systemClock.hold() keeps the process alive until all holds have ended, setTimer() does not', () => {
    const timeouts = () => process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length;
    const before = timeouts();

    const cancel = systemClock.setTimer(60_000, () => undefined);
    expect(timeouts()).toBe(before);
    const [one, other] = [systemClock.hold(), systemClock.hold()];
    expect(timeouts()).toBe(before + 1);
    one();
    one();
    expect(timeouts()).toBe(before + 1);
    other();

    expect(timeouts()).toBe(before);
    cancel();
  });

  test('advance() keeps the clocks together through timers at fractions of a millisecond', async () => {
    const clock = new ManualClock();
    const before = clock.now();
    for (let index = 1; index < 1_000; index += 1) clock.setTimer(index / 7, () => undefined);

    await clock.advance(1_000);

    const now = clock.now();
    expect([now.monotonicMs - before.monotonicMs, now.wallMs - before.wallMs]).toEqual([1_000, 1_000]);
  });

  test('keepAlive() calls its task at once, and holds the process until the task settles', async () => {
    const clock = new ManualClock();
    let finish: (value: string) => void = () => undefined;
    let isCalled = false;

    const kept = keepAlive(clock, () => {
      isCalled = true;
      return new Promise<string>((resolve) => {
        finish = resolve;
      });
    });
    expect(isCalled).toBe(true);
    await clock.settle();
    expect(clock.isHeld).toBe(true);
    finish('done');

    expect(await kept).toBe('done');
    expect(clock.isHeld).toBe(false);
  });

  test('keepAlive() rejects with the error of its task, and no longer holds the process', async () => {
    const clock = new ManualClock();

    await expect(keepAlive(clock, () => Promise.reject(new Error('no')))).rejects.toThrow('no');

    expect(clock.isHeld).toBe(false);
  });
});
