/** The options of `instrumentLockers()`. */
import type { MeterProvider, TracerProvider } from '@opentelemetry/api';

/** The options of the entry point `etcd-locker/otel`. */
export interface OtelOptions {
  /** Makes the tracer. Default: the global provider of the API. */
  readonly tracerProvider?: Pick<TracerProvider, 'getTracer'> | undefined;
  /** Makes the meter. Default: the global provider of the API. */
  readonly meterProvider?: Pick<MeterProvider, 'getMeter'> | undefined;
  /**
   * Returns the text for the attribute `etcd_locker.name` of metrics, or undefined for none. Each distinct text is a time series of its
   * own, so return few: `(name) => name.split('/')[0]`. Spans always have the name of the lock. If it throws, metrics have no name,
   * and `diag` of the API gets the error. Default: metrics have no name.
   */
  readonly nameOf?: ((name: string) => string | undefined) | undefined;
}
