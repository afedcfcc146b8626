/** What all parts of one locker share. */
import type { Clock } from './clock.ts';
import type { OutageLog } from './outage-log.ts';
import type { Store } from './store/store.ts';

/** Where a locker writes its messages. `console` is one. */
export type Logger = Pick<Console, 'debug' | 'info' | 'warn' | 'error'>;

const ignore = (): void => undefined;

/** The logger of a locker without one. What serves the log alone need not run with it. */
export const silentLogger: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

export interface Context {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly outageLog: OutageLog;
  readonly prefix: string;
  readonly requestTimeoutMs: number;
  /** The value of the sessions' gates: it names the locker. */
  readonly gateValue: string;
}
