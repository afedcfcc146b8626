/** Tests of channels and spans on a real etcd, and of subscribers that throw. */
import diagnostics from 'node:diagnostics_channel';
import { fileURLToPath } from 'node:url';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { HostChangedMessage } from 'etcd-locker';
import { instrumentLockers } from 'etcd-locker/otel';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EtcdServer } from '../support/etcd/etcd.ts';
import { openStage, type Stage } from '../support/fixtures/etcd-stage.ts';
import { freePorts } from '../support/network/ports.ts';
import { TestProcess } from '../support/run/processes.ts';

let stage: Stage<EtcdServer>;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

test('spans of a wait and a hold on etcd', async () => {
  const exporter = new InMemorySpanExporter();
  using instrumentation = instrumentLockers({
    tracerProvider: new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  });
  const name = crypto.randomUUID();
  const holder = await stage.createLocker().lock(name);
  const waiting = stage.createLocker().withLock(name, () => undefined);
  await stage.queued(name, 2);

  await holder.release();
  await waiting;

  instrumentation.stop();
  const spans = exporter.getFinishedSpans().filter(({ attributes }) => attributes['etcd_locker.name'] === name);
  expect(spans.map((span) => [span.name, span.attributes['etcd_locker.end'] ?? span.attributes['etcd_locker.result']])).toEqual([
    ['etcd_locker lock', 'acquired'],
    ['etcd_locker hold', 'released'],
    ['etcd_locker lock', 'acquired'],
    ['etcd_locker hold', 'released'],
  ]);
});

test('a locker that goes on to another host says so', async () => {
  const [port = 0] = await freePorts(1);
  const dead = `127.0.0.1:${String(port)}`;
  const alive = stage.server.endpoint.replace(/^https?:\/\//, '');
  const messages: HostChangedMessage[] = [];
  const onMessage = (message: unknown): void => {
    messages.push(message as HostChangedMessage);
  };
  diagnostics.subscribe('etcd-locker:host-changed', onMessage);
  const locker = stage.createLockerAt([dead, stage.server.endpoint]);
  await locker.withLock(crypto.randomUUID(), () => undefined);
  diagnostics.unsubscribe('etcd-locker:host-changed', onMessage);

  expect(messages[0]).toEqual({ from: dead, to: alive, cause: 'failed' });
});

test('a subscriber that throws harms no lock, and its error is an uncaught exception', async () => {
  await using program = new TestProcess(process.execPath, [fileURLToPath(new URL('workers/throwing.ts', import.meta.url))]);

  const { errors, ...rest } = await program.reached('done');

  expect(rest).toEqual({ step: 'done', result: true, aborted: true, held: false, timedOut: true });
  const traced = ['asyncEnd', 'asyncStart', 'end', 'start'].map((one) => `tracing:etcd-locker:acquire:${one}`);
  expect(errors).toEqual(['etcd-locker:held', 'etcd-locker:lost', 'etcd-locker:released', ...traced]);
});
