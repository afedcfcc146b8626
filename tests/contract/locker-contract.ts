/** The contract of a locker on any store. Each suite takes a function that opens a fixture. */
import { describe } from 'vitest';
import type { OpenFixture } from '../support/fixtures/lockers.ts';
import { breakLockContract } from './suites/break-lock.ts';
import { closeContract } from './suites/close.ts';
import { abortAndTimeoutContract } from './suites/abort-and-timeout.ts';
import { handleContract } from './suites/handle.ts';
import { inspectContract } from './suites/inspect.ts';
import { leadContract } from './suites/lead.ts';
import { lockContract } from './suites/lock.ts';
import { lossContract } from './suites/loss.ts';
import { concurrentCallsContract } from './suites/concurrent-calls.ts';
import { nameContract } from './suites/names.ts';
import { orderContract } from './suites/order.ts';
import { tryLockContract } from './suites/try-lock.ts';
import { keptContract } from './suites/kept.ts';
import { kindContract } from './suites/kinds.ts';
import { limitContract } from './suites/limits.ts';
import { minimumHoldContract } from './suites/minimum-hold.ts';
import { listContract } from './suites/list.ts';
import { lockAllContract } from './suites/lock-all.ts';
import { tryKindContract } from './suites/try-kinds.ts';
import { wantedContract } from './suites/wanted.ts';
import { watchContract } from './suites/watch.ts';

export function lockerContract(name: string, open: OpenFixture): void {
  describe(`Locker contract on ${name}`, () => {
    lockContract(open);
    tryLockContract(open);
    orderContract(open);
    abortAndTimeoutContract(open);
    handleContract(open);
    wantedContract(open);
    inspectContract(open);
    watchContract(open);
    breakLockContract(open);
    closeContract(open);
    leadContract(open);
    lossContract(open);
    nameContract(open);
    concurrentCallsContract(open);
    tryKindContract(open);
    lockAllContract(open);
    listContract(open);
    limitContract(open);
    minimumHoldContract(open);
    keptContract(open);
    kindContract(open);
  });
}
