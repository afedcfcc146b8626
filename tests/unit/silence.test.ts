/** Tests of the log of tries without a response. */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { CallFailure, noResponse, status } from '../../src/store/etcd/call-failure.ts';
import { SilenceLog } from '../../src/store/etcd/silence.ts';

const refusedConnection = new CallFailure(status.unavailable, 'No connection established. Last error: connect ECONNREFUSED');

test('a try that waits is reported with the time that it has waited', async () => {
  const log = new SilenceLog();
  expect(log.current(1_000)).toBeUndefined();
  log.onSend('a:1');
  await sleep(20);

  const silence = log.current(1_000);

  expect(silence).toMatchObject({
    isOutage: false,
    hosts: [{ host: 'a:1', reason: expect.stringMatching(/^no response within \d\d/) as string }],
  });
  expect(log.current(5)?.isOutage).toBe(true);
});

test('a failure is reported until a host responds, and a lack of a response replaces no better reason', () => {
  const log = new SilenceLog();
  log.onFailure(log.onSend('a:1'), refusedConnection);
  log.onFailure(log.onSend('a:1'), noResponse(100));
  log.onFailure(log.onSend('b:1'), noResponse(100));

  expect(log.current(0)?.hosts).toEqual([
    { host: 'a:1', reason: refusedConnection.details },
    { host: 'b:1', reason: 'no response within 100 ms' },
  ]);
  log.onResponse(log.onSend('b:1'));
  expect(log.current(0)).toBeUndefined();
});

test('a refusal is a response, and tries that still wait count from it', async () => {
  const log = new SilenceLog();
  log.onSend('a:1');
  await sleep(20);
  log.onFailure(log.onSend('b:1'), new CallFailure(status.permissionDenied, 'etcdserver: permission denied'));

  const silence = log.current(1_000);

  expect(silence?.hosts).toMatchObject([{ host: 'a:1' }]);
  expect(silence?.forMs).toBeLessThan(20);
});
