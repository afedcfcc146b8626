/**
 * The spans: one for each call that asks for locks, and one for each hold.
 *
 * Both are children of the span that is active where the call is made, and a hold has a link to its call. The function of `withLock()`
 * runs in the context of its caller, so its own spans are siblings of both.
 */
import { context, type Context, type Link, type Span, SpanKind, SpanStatusCode, type Tracer } from '@opentelemetry/api';
import type { AcquireMessage, HeldMessage, LostMessage, ReleasedMessage } from '../telemetry/messages.ts';
import { attribute, describeLock, errorTypeOf, idOf, toNumber } from './names.ts';
import type { Listener } from './subscriptions.ts';

interface Call {
  readonly span: Span;
  /** The context of the caller. */
  readonly parent: Context;
}

interface HoldSpan {
  readonly heldAt: number;
  /** Undefined until the call has ended: a call of several names holds the first ones while it waits for the others. */
  span: Span | undefined;
}

export class Spans implements Listener {
  readonly #tracer: Tracer;
  readonly #calls = new Map<AcquireMessage, Call>();
  readonly #holds = new Map<string, HoldSpan>();

  constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  onAcquireStart(message: AcquireMessage): void {
    const { operation, names, mode, slots } = message;
    const [name] = names;
    const parent = context.active();
    const attributes = {
      ...(names.length === 1 && name !== undefined ? { [attribute.name]: name } : { [attribute.names]: [...names] }),
      [attribute.operation]: operation,
      [attribute.mode]: mode,
      [attribute.slots]: toNumber(slots),
    };
    const span = this.#tracer.startSpan(`etcd_locker ${operation}`, { kind: SpanKind.INTERNAL, attributes }, parent);
    this.#calls.set(message, { span, parent });
  }

  onAcquireEnd(message: AcquireMessage): void {
    const call = this.#calls.get(message);
    if (call === undefined) return;
    this.#calls.delete(message);
    const { span, parent } = call;
    const { result = 'failed', error, locks = [] } = message;
    span.setAttribute(attribute.result, result);
    const [lock] = locks;
    if (lock !== undefined && locks.length === 1) span.setAttributes(describeLock(lock));
    if (error !== undefined && result !== 'aborted') span.setAttribute(attribute.errorType, errorTypeOf(error));
    // A busy lock, an abort and a close are no faults. The message of an error may have the value of a holder, so it is left out.
    if (result === 'failed' || result === 'timeout') span.setStatus({ code: SpanStatusCode.ERROR, message: errorTypeOf(error) });
    span.end();
    const link = { context: span.spanContext() };
    for (const one of locks) this.#startHold(idOf(one), describeLock(one), parent, link);
  }

  onHeld(message: HeldMessage): void {
    this.#holds.set(idOf(message), { heldAt: Date.now(), span: undefined });
  }

  onReleased(message: ReleasedMessage): void {
    this.#endHold(idOf(message), (span) => {
      span.setAttribute(attribute.end, message.cause === 'release' ? 'released' : message.cause);
    });
  }

  onLost(message: LostMessage): void {
    this.#endHold(idOf(message), (span) => {
      span.setAttributes({ [attribute.end]: 'lost', [attribute.lossReason]: message.reason, [attribute.errorType]: message.error.code });
      span.setStatus({ code: SpanStatusCode.ERROR, message: message.error.code });
    });
  }

  /** Ends all spans. */
  end(): void {
    for (const { span } of [...this.#calls.values(), ...this.#holds.values()]) span?.end();
    this.#calls.clear();
    this.#holds.clear();
  }

  #startHold(id: string, attributes: ReturnType<typeof describeLock>, parent: Context, link: Link): void {
    const hold = this.#holds.get(id);
    // The lock may have been lost before the call ended.
    if (hold === undefined) return;
    const options = { kind: SpanKind.INTERNAL, attributes, links: [link], startTime: hold.heldAt };
    hold.span = this.#tracer.startSpan('etcd_locker hold', options, parent);
  }

  #endHold(id: string, describe: (span: Span) => void): void {
    const span = this.#holds.get(id)?.span;
    this.#holds.delete(id);
    if (span === undefined) return;
    describe(span);
    span.end();
  }
}
