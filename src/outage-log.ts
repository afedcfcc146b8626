/** Warns of an outage: one line per interval for a whole locker, however many callers and watches wait. */
import { addMs, type Clock, type Instant, msUntil } from './clock.ts';

interface WarnLogger {
  warn(message: string): void;
}

export class OutageLog {
  readonly #logger: WarnLogger;
  readonly #clock: Clock;
  readonly #intervalMs: number;
  #nextAt: Instant | undefined;

  constructor(logger: WarnLogger, clock: Clock, intervalMs: number) {
    this.#logger = logger;
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  /** Logs `message`, unless another one was logged less than an interval ago. */
  warn(message: string): void {
    const now = this.#clock.now();
    if (this.#nextAt !== undefined && msUntil(this.#nextAt, now) > 0) return;
    this.#nextAt = addMs(now, this.#intervalMs);
    this.#logger.warn(`etcd-locker: ${message}`);
  }
}
