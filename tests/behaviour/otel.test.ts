/** Tests of `etcd-locker/otel`, with the SDK of OpenTelemetry and its exporters in memory. */
import { context, type Attributes, diag, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  type Histogram as HistogramValue,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { instrumentLockers, type OtelOptions } from 'etcd-locker/otel';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { calls, lostRequest, openFaultyMemory } from '../support/fixtures/faults.ts';
import { errorOf, follow } from '../support/fixtures/holding.ts';

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
});
afterAll(() => {
  context.disable();
});

function instrument(options?: OtelOptions) {
  const spanExporter = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spanExporter)] });
  const metricExporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter: metricExporter, exportIntervalMillis: 3_600_000 });
  const meterProvider = new MeterProvider({ readers: [reader] });
  const instrumentation = instrumentLockers({ tracerProvider, meterProvider, ...options });
  const collect = async () => {
    await meterProvider.forceFlush();
    const metrics = metricExporter.getMetrics().at(-1)?.scopeMetrics[0]?.metrics ?? [];
    return {
      descriptors: metrics.map(({ descriptor: { name, unit } }) => [name, unit]),
      /** The points of an instrument: the attributes, and the value or the number of values. */
      points: (name: string): [Attributes, number][] =>
        (metrics.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? []).map(({ attributes, value }) => [
          attributes,
          typeof value === 'number' ? value : (value as { count: number }).count,
        ]),
      buckets: (name: string): readonly number[] | undefined =>
        (metrics.find(({ descriptor }) => descriptor.name === name)?.dataPoints[0]?.value as Partial<HistogramValue> | undefined)?.buckets
          ?.boundaries,
      sum: (name: string): number | undefined =>
        (metrics.find(({ descriptor }) => descriptor.name === name)?.dataPoints[0]?.value as { sum?: number } | undefined)?.sum,
    };
  };
  return {
    instrumentation,
    tracer: tracerProvider.getTracer('test'),
    spans: () => spanExporter.getFinishedSpans(),
    collect,
    async [Symbol.asyncDispose]() {
      instrumentation.stop();
      await meterProvider.shutdown();
      await tracerProvider.shutdown();
    },
  };
}

describe('spans', () => {
  test('show the wait and the hold as children of the span of the caller, and a hold links to its wait', async () => {
    await using memory = await openFaultyMemory();
    await using otel = instrument();
    const locker = memory.createLocker();

    const root = otel.tracer.startSpan('request');
    await context.with(trace.setSpan(context.active(), root), () =>
      locker.withLock('orders/42', async () => {
        await Promise.resolve();
        otel.tracer.startSpan('work').end();
      }),
    );
    root.end();

    const spans = otel.spans();
    expect(spans.map(({ name }) => name)).toEqual(['etcd_locker lock', 'work', 'etcd_locker hold', 'request']);
    const [acquire, work, hold] = spans;
    const parent = root.spanContext().spanId;
    // The function runs in the context of its caller.
    expect([acquire, work, hold].map((span) => span?.parentSpanContext?.spanId)).toEqual([parent, parent, parent]);
    expect(hold?.links.map((link) => link.context.spanId)).toEqual([acquire?.spanContext().spanId]);
    expect(acquire?.attributes).toMatchObject({
      'etcd_locker.name': 'orders/42',
      'etcd_locker.operation': 'lock',
      'etcd_locker.mode': 'exclusive',
      'etcd_locker.slots': 1,
      'etcd_locker.result': 'acquired',
      'etcd_locker.fencing_token': expect.stringMatching(/^\d+$/) as unknown,
    });
    expect(hold?.attributes).toMatchObject({ 'etcd_locker.name': 'orders/42', 'etcd_locker.end': 'released' });
    expect([acquire?.status.code, hold?.status.code]).toEqual([SpanStatusCode.UNSET, SpanStatusCode.UNSET]);
  });

  test('keep the caller of each of many concurrent calls', async () => {
    await using memory = await openFaultyMemory();
    await using otel = instrument();
    const locker = memory.createLocker();

    const roots = Array.from({ length: 20 }, (_, index) => otel.tracer.startSpan(`request ${String(index)}`));
    await Promise.all(
      roots.map((root) => context.with(trace.setSpan(context.active(), root), () => locker.withLock('a', () => undefined))),
    );

    const parents = (name: string): unknown[] =>
      otel
        .spans()
        .filter((span) => span.name === name)
        .map((span) => span.parentSpanContext?.spanId);
    const ids = roots.map((root) => root.spanContext().spanId);
    expect(parents('etcd_locker lock')).toEqual(ids);
    expect(parents('etcd_locker hold')).toEqual(ids);
  });

  test('of a timeout, a failure and a loss have an error without the value of the holder, others have none', async () => {
    await using memory = await openFaultyMemory();
    await using otel = instrument();
    const locker = memory.createLocker();
    const holder = await memory.createLocker({ value: 'alice@example.com' }).lock('a');
    const controller = new AbortController();
    const outcomes = [locker.lock('a', { timeoutMs: 1_000 }), locker.lock('a', { signal: controller.signal }), locker.tryLock('a')].map(
      errorOf,
    );
    await memory.clock.advance(1_000);
    controller.abort();
    await Promise.all(outcomes);
    memory.store.every(calls.renew, lostRequest);
    await memory.clock.advance(20_000);

    const summary = otel
      .spans()
      .map(({ name, status, attributes }) => [name, status.code, attributes['etcd_locker.result'], attributes['error.type']]);
    expect(summary).toEqual([
      ['etcd_locker lock', SpanStatusCode.UNSET, 'acquired', undefined],
      ['etcd_locker tryLock', SpanStatusCode.UNSET, 'busy', undefined],
      ['etcd_locker lock', SpanStatusCode.ERROR, 'timeout', 'LOCK_TIMEOUT'],
      ['etcd_locker lock', SpanStatusCode.UNSET, 'aborted', undefined],
      ['etcd_locker hold', SpanStatusCode.ERROR, undefined, 'LOCK_LOST'],
    ]);
    expect(holder.held).toBe(false);
    expect(JSON.stringify(otel.spans().map(({ attributes, status, events }) => [attributes, status, events]))).not.toContain('alice');
  });

  test('of several names: one for the call, and one for each hold', async () => {
    await using memory = await openFaultyMemory();
    await using otel = instrument();

    await (await memory.createLocker().lockAll(['a', 'b'])).release();

    const [call, ...holds] = otel.spans();
    expect(call?.attributes['etcd_locker.names']).toEqual(['a', 'b']);
    expect(holds.map(({ name, attributes }) => [name, attributes['etcd_locker.name']])).toEqual([
      ['etcd_locker hold', 'a'],
      ['etcd_locker hold', 'b'],
    ]);
  });
});

describe('metrics', () => {
  test('count what waits, is held, is lost and fails, and measure waits and holds in seconds', async () => {
    await using memory = await openFaultyMemory();
    await using otel = instrument();
    const locker = memory.createLocker();
    const first = await locker.lock('a');
    const waiting = follow(locker.lock('a'));
    await memory.clock.advance(1_500);

    const during = await otel.collect();
    expect(during.points('etcd_locker.held')).toEqual([[{ 'etcd_locker.mode': 'exclusive' }, 1]]);
    expect(during.points('etcd_locker.waiting')).toEqual([[{ 'etcd_locker.mode': 'exclusive', 'etcd_locker.operation': 'lock' }, 1]]);
    await first.release();
    await waiting.promise;
    memory.store.every(calls.renew, lostRequest);
    await memory.clock.advance(20_000);

    const { descriptors, points, buckets, sum } = await otel.collect();
    expect(descriptors).toEqual([
      ['etcd_locker.wait.duration', 's'],
      ['etcd_locker.hold.duration', 's'],
      ['etcd_locker.held', '{lock}'],
      ['etcd_locker.waiting', '{call}'],
      ['etcd_locker.losses', '{lock}'],
      ['etcd_locker.renewal.failures', '{renewal}'],
    ]);
    expect(points('etcd_locker.held').map(([, value]) => value)).toEqual([0]);
    expect(points('etcd_locker.waiting').map(([, value]) => value)).toEqual([0]);
    expect(points('etcd_locker.losses')).toEqual([[{ 'etcd_locker.loss.reason': 'expired' }, 1]]);
    expect(points('etcd_locker.renewal.failures')[0]?.[0]).toEqual({ 'error.type': 'ETCD_UNAVAILABLE' });
    expect(points('etcd_locker.hold.duration')).toEqual([
      [{ 'etcd_locker.mode': 'exclusive', 'etcd_locker.end': 'released' }, 1],
      [{ 'etcd_locker.mode': 'exclusive', 'etcd_locker.end': 'lost' }, 1],
    ]);
    expect(sum('etcd_locker.hold.duration')).toBe(1.5);
    expect(sum('etcd_locker.wait.duration')).toBe(1.5);
    expect(buckets('etcd_locker.wait.duration')).toContain(0.01);
  });

  test('have no lock name unless nameOf returns one', async () => {
    await using memory = await openFaultyMemory();
    await using plain = instrument();
    await using named = instrument({ nameOf: (name) => (name.startsWith('orders/') ? 'orders' : undefined) });
    const locker = memory.createLocker();

    for (const name of ['orders/1', 'orders/2', 'users/1']) await locker.withLock(name, () => undefined);

    const names = async (otel: typeof plain) =>
      (await otel.collect()).points('etcd_locker.wait.duration').map(([attributes, count]) => [attributes['etcd_locker.name'], count]);
    expect(await names(plain)).toEqual([[undefined, 3]]);
    expect(await names(named)).toEqual([
      ['orders', 2],
      [undefined, 1],
    ]);
  });

  test('have no lock name if nameOf throws, which ends no process', async () => {
    await using memory = await openFaultyMemory();
    const nameOf = (name: string): string => {
      throw new TypeError(`Cannot shorten ${name}`);
    };
    const errors: unknown[] = [];
    const ignore = (): void => undefined;
    diag.setLogger({ error: (...args) => errors.push(args), warn: ignore, info: ignore, debug: ignore, verbose: ignore });
    await using otel = instrument({ nameOf });

    const lock = await memory.createLocker().lock('a');
    const { points } = await otel.collect();
    await lock.release();
    diag.disable();

    expect(points('etcd_locker.held')).toEqual([[{ 'etcd_locker.mode': 'exclusive' }, 1]]);
    expect(errors[0]).toEqual(['etcd-locker: nameOf failed, so a metric has no name', new TypeError('Cannot shorten a')]);
  });

  test('do not count locks from before the start, and end at stop()', async () => {
    await using memory = await openFaultyMemory();
    const locker = memory.createLocker();
    const before = await locker.lock('before');
    await using otel = instrument();
    const lock = await locker.lock('a');
    await before.release();
    expect((await otel.collect()).points('etcd_locker.held').map(([, value]) => value)).toEqual([1]);

    otel.instrumentation.stop();
    otel.instrumentation.stop();
    await lock.release();
    await locker.withLock('b', () => undefined);

    expect((await otel.collect()).points('etcd_locker.held').map(([, value]) => value)).toEqual([0]);
    expect(otel.spans().map(({ name }) => name)).toEqual(['etcd_locker lock', 'etcd_locker hold']);
  });
});
