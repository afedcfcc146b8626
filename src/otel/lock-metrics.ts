/** The instruments: how long calls wait and locks are held, how many there are, and what goes wrong. */
import { type Attributes, type Counter, diag, type Histogram, type Meter, type UpDownCounter } from '@opentelemetry/api';
import type {
  AcquireMessage,
  HeldMessage,
  HostChangedMessage,
  LockMessage,
  LostMessage,
  ReleasedMessage,
  RenewalFailedMessage,
} from '../telemetry/messages.ts';
import type { OtelOptions } from './options.ts';
import { attribute, errorTypeOf, idOf } from './names.ts';
import type { Listener } from './subscriptions.ts';

const waitBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];
const holdBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400];

export class LockMetrics implements Listener {
  readonly #nameOf: NonNullable<OtelOptions['nameOf']>;
  readonly #wait: Histogram;
  readonly #hold: Histogram;
  readonly #held: UpDownCounter;
  readonly #waiting: UpDownCounter;
  readonly #losses: Counter;
  readonly #renewalFailures: Counter;
  readonly #hostChanges: Counter;
  /** The attributes that each call and each hold was counted with. What began before the instrumentation is not in them. */
  readonly #calls = new Map<AcquireMessage, Attributes>();
  readonly #holds = new Map<string, Attributes>();

  constructor(meter: Meter, nameOf: NonNullable<OtelOptions['nameOf']>) {
    this.#nameOf = nameOf;
    this.#wait = meter.createHistogram('etcd_locker.wait.duration', {
      description: 'The time from a call that asks for locks to its end',
      unit: 's',
      advice: { explicitBucketBoundaries: waitBuckets },
    });
    this.#hold = meter.createHistogram('etcd_locker.hold.duration', {
      description: 'The time for which a lock was held',
      unit: 's',
      advice: { explicitBucketBoundaries: holdBuckets },
    });
    this.#held = meter.createUpDownCounter('etcd_locker.held', { description: 'The locks that are held', unit: '{lock}' });
    this.#waiting = meter.createUpDownCounter('etcd_locker.waiting', {
      description: 'The calls that ask for locks and wait',
      unit: '{call}',
    });
    this.#losses = meter.createCounter('etcd_locker.losses', { description: 'The locks that were lost', unit: '{lock}' });
    this.#renewalFailures = meter.createCounter('etcd_locker.renewal.failures', {
      description: 'The renewals of leases that failed',
      unit: '{renewal}',
    });
    this.#hostChanges = meter.createCounter('etcd_locker.host.changes', {
      description: 'How often a locker went on to another host of etcd',
      unit: '{change}',
    });
  }

  onAcquireStart(message: AcquireMessage): void {
    const { operation, names, mode } = message;
    const [name] = names;
    const attributes = {
      [attribute.operation]: operation,
      [attribute.mode]: mode,
      ...(names.length === 1 && name !== undefined ? this.#describeName(name) : {}),
    };
    this.#calls.set(message, attributes);
    this.#waiting.add(1, attributes);
  }

  onAcquireEnd(message: AcquireMessage): void {
    const attributes = this.#calls.get(message);
    if (attributes === undefined) return;
    this.#calls.delete(message);
    this.#waiting.add(-1, attributes);
    const { result, waitMs = 0, error } = message;
    const errorType = error === undefined || result === 'aborted' ? {} : { [attribute.errorType]: errorTypeOf(error) };
    this.#wait.record(waitMs / 1_000, { ...attributes, [attribute.result]: result, ...errorType });
  }

  onHeld(message: HeldMessage): void {
    const attributes = { [attribute.mode]: message.mode, ...this.#describeName(message.name) };
    this.#holds.set(idOf(message), attributes);
    this.#held.add(1, attributes);
  }

  onReleased(message: ReleasedMessage): void {
    this.#onEnd(message, { [attribute.end]: message.cause === 'release' ? 'released' : message.cause });
  }

  onLost(message: LostMessage): void {
    this.#onEnd(message, { [attribute.end]: 'lost' });
    this.#losses.add(1, { [attribute.lossReason]: message.reason, ...this.#describeName(message.name) });
  }

  onRenewalFailed({ error }: RenewalFailedMessage): void {
    this.#renewalFailures.add(1, { [attribute.errorType]: errorTypeOf(error) });
  }

  onHostChanged({ to }: HostChangedMessage): void {
    this.#hostChanges.add(1, { 'server.address': to });
  }

  /** Takes back what the two counters of the present show. */
  end(): void {
    for (const attributes of this.#calls.values()) this.#waiting.add(-1, attributes);
    for (const attributes of this.#holds.values()) this.#held.add(-1, attributes);
    this.#calls.clear();
    this.#holds.clear();
  }

  #onEnd(message: LockMessage & Pick<ReleasedMessage, 'heldMs'>, end: Attributes): void {
    const attributes = this.#holds.get(idOf(message));
    if (attributes === undefined) return;
    this.#holds.delete(idOf(message));
    this.#held.add(-1, attributes);
    this.#hold.record((message.heldMs ?? 0) / 1_000, { ...attributes, ...end });
  }

  #describeName(name: string): Attributes {
    try {
      const text = this.#nameOf(name);
      return text === undefined ? {} : { [attribute.name]: text };
    } catch (error) {
      // An error in a subscriber ends the process as an uncaught exception.
      diag.error('etcd-locker: nameOf failed, so a metric has no name', error);
      return {};
    }
  }
}
