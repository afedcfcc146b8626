/**
 * Supervises one channel: its connection in the making, and one that no longer passes anything.
 *
 * grpc-js waits without limit for the first frame of a server, and TCP reports a connection without responses a quarter of an hour
 * later. Both are given up after the time of a try, and the next call opens another channel. The age of the connection counts, not
 * the limit of a call: other calls may share the connection.
 */
import type { connectivityState } from '@grpc/grpc-js';
import type { ClosableChannel } from './closable-channel.ts';

/** A call or a stream on its way. */
export interface UnderWay {
  cancel(): void;
  /** Ends a stream whose connection is silent. A call has a limit of its own. */
  giveUp?(): void;
}

export interface ConnectionOwner {
  /** How long a connection may be in the making. */
  readonly patience: Patience;
  /** Called once, when no more calls may use this connection. */
  readonly onRetired: () => void;
  /** Called once, when its sockets are closed. */
  readonly onClosed: () => void;
}

/** No connection is silent for less than this. A renewal of the shortest TTL waits for 333 ms. */
const silentMs = 300;
/** A new attempt helps as much as waiting longer: TCP sends its first packet again after 1 s and 3 s. */
const maxPatienceMs = 2_500;

/** The limit for a connection in the making. It grows while no connection succeeds, because the network may be slow. */
export class Patience {
  readonly tryMs: number;
  #limitMs: number;

  constructor(tryMs: number) {
    this.tryMs = Math.min(tryMs, maxPatienceMs);
    this.#limitMs = this.tryMs;
  }

  get limitMs(): number {
    return this.#limitMs;
  }

  grow(): void {
    this.#limitMs = Math.min(2 * this.#limitMs, maxPatienceMs);
  }

  restore(): void {
    this.#limitMs = this.tryMs;
  }
}

export class Connection {
  /** When the last bytes arrived, by `performance.now()`. */
  receivedAt = 0;
  readonly #channel: ClosableChannel;
  readonly #states: typeof connectivityState;
  readonly #owner: ConnectionOwner;
  readonly #underWay = new Set<UnderWay>();
  /** How long calls have waited since the last bytes, and until when that was counted. */
  #silence = { ms: 0, until: 0 };
  #timer: NodeJS.Timeout | undefined;
  #isRetired = false;
  #failure: string | undefined;

  constructor(channel: ClosableChannel, states: typeof connectivityState, owner: ConnectionOwner) {
    this.#channel = channel;
    this.#states = states;
    this.#owner = owner;
    this.#follow();
  }

  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** Why the connection was given up, if it was in the making. */
  get failure(): string | undefined {
    return this.#failure;
  }

  started(call: UnderWay): void {
    this.#underWay.add(call);
  }

  ended(call: UnderWay): void {
    this.#underWay.delete(call);
    if (this.#isRetired && this.#underWay.size === 0) this.#destroySoon();
  }

  /** Retires the connection if calls have waited on it for long enough without a byte. `sentAt` is the time of a call without a response. */
  check(sentAt: number): void {
    if (this.#isRetired || this.#state !== this.#states.READY || this.receivedAt >= sentAt) return;
    const now = performance.now();
    const { ms, until } = this.#silence;
    this.#silence = { ms: (this.receivedAt > until ? 0 : ms) + now - Math.max(sentAt, until), until: now };
    // Timers may be a little early.
    if (this.#silence.ms < Math.min(silentMs, 0.9 * this.#owner.patience.tryMs)) return;
    this.retire();
    for (const call of [...this.#underWay]) call.giveUp?.();
  }

  /** Takes no more calls. Calls that were sent go on, then the sockets are closed. */
  retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    clearTimeout(this.#timer);
    const isConnected = this.#state === this.#states.READY;
    this.#channel.close();
    this.#owner.onRetired();
    if (!isConnected || this.#underWay.size === 0) this.#destroySoon();
  }

  /** Cancels all calls and closes the sockets. */
  close(): void {
    this.retire();
    for (const call of [...this.#underWay]) call.cancel();
    this.#destroySoon();
  }

  get #state(): connectivityState {
    return this.#channel.getConnectivityState(false);
  }

  #follow(): void {
    clearTimeout(this.#timer);
    if (this.#isRetired) return;
    const state = this.#state;
    if (state === this.#states.READY) {
      this.receivedAt = performance.now();
      this.#owner.patience.restore();
    } else if (state !== this.#states.IDLE) {
      this.#limit();
    }
    this.#channel.watchConnectivityState(state, Infinity, () => {
      this.#follow();
    });
  }

  #limit(): void {
    const { limitMs } = this.#owner.patience;
    const startedAt = performance.now();
    this.#timer = setTimeout(() => {
      // If the process was suspended, timers run before the bytes that arrived meanwhile.
      setImmediate(() => {
        if (this.#isRetired || this.#state === this.#states.READY) return;
        const isLate = performance.now() - startedAt > 1.5 * limitMs;
        // A name server may be slow, and asking it again does not help.
        if (isLate || !this.#channel.isResolved) this.#limit();
        else this.#giveUp(limitMs);
      });
    }, limitMs).unref();
  }

  #giveUp(limitMs: number): void {
    this.#failure = `No connection established within ${String(Math.round(limitMs))} ms`;
    // A host that refuses connections does so at once.
    if (this.#state === this.#states.CONNECTING) this.#owner.patience.grow();
    this.retire();
  }

  /** Lets grpc-js say goodbye to the server first. */
  #destroySoon(): void {
    setImmediate(() => {
      this.#channel.destroy();
      this.#owner.onClosed();
    });
  }
}
