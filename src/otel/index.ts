/**
 * Turns the messages of this package into spans and metrics of OpenTelemetry.
 *
 * It subscribes to the channels of `node:diagnostics_channel`, and uses the peer dependency `@opentelemetry/api`. Read in this folder:
 * this file, subscriptions.ts (the channels), spans.ts, lock-metrics.ts (the instruments), options.ts, names.ts (names and attributes).
 */
import { LockMetrics } from './lock-metrics.ts';
import { metrics, trace } from '@opentelemetry/api';
import type { OtelOptions } from './options.ts';
import { Spans } from './spans.ts';
import { subscribeAll } from './subscriptions.ts';

export type { OtelOptions } from './options.ts';

/** A running instrumentation. */
export interface Instrumentation extends Disposable {
  /** Unsubscribes, and ends the spans of locks that are held. */
  stop(): void;
}

const scope = 'etcd-locker';

/**
 * Produces spans and metrics for all lockers of this process, from now on.
 *
 * Call it once, after the SDK is registered. Locks that are held already have no span, and are not counted.
 *
 * @example
 * const instrumentation = instrumentLockers()
 * process.once('SIGTERM', () => instrumentation.stop())
 */
export function instrumentLockers({
  tracerProvider = trace,
  meterProvider = metrics,
  nameOf = () => undefined,
}: OtelOptions = {}): Instrumentation {
  const spans = new Spans(tracerProvider.getTracer(scope));
  const lockMetrics = new LockMetrics(meterProvider.getMeter(scope), nameOf);
  const unsubscribe = subscribeAll([spans, lockMetrics]);
  let isRunning = true;
  const stop = (): void => {
    if (!isRunning) return;
    isRunning = false;
    unsubscribe();
    spans.end();
    lockMetrics.end();
  };
  return { stop, [Symbol.dispose]: stop };
}
