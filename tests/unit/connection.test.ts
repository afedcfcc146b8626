/** Tests when a connection is given up, and what becomes of the calls on it. */
import * as grpc from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { channelFactory, type ClosableChannel } from '../../src/store/etcd/closable-channel.ts';
import { Connection, Patience, type UnderWay } from '../../src/store/etcd/connection.ts';

const states = grpc.connectivityState;

/** A channel whose state the test sets. */
class FakeChannel implements ClosableChannel {
  isResolved = true;
  isDestroyed = false;
  #state: grpc.connectivityState = states.CONNECTING;
  #watchers: (() => void)[] = [];

  become(state: grpc.connectivityState): void {
    this.#state = state;
    for (const watcher of this.#watchers.splice(0)) watcher();
  }

  getConnectivityState(): grpc.connectivityState {
    return this.#state;
  }

  watchConnectivityState(_state: unknown, _deadline: unknown, callback: () => void): void {
    this.#watchers.push(callback);
  }

  close(): void {
    this.become(states.SHUTDOWN);
  }

  destroy(): void {
    this.isDestroyed = true;
  }

  getTarget = (): never => expect.fail('not used');
  getChannelzRef = this.getTarget;
  createCall = this.getTarget;
}

const tryMs = 1_000;
let patience: Patience;
let channel: FakeChannel;
let connection: Connection;
let isClosed: boolean;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'performance'], now: 1 });
  patience = new Patience(tryMs);
  connect();
});
afterEach(() => {
  vi.useRealTimers();
});

function connect(): void {
  isClosed = false;
  channel = new FakeChannel();
  connection = new Connection(channel, states, { patience, onRetired: () => undefined, onClosed: () => (isClosed = true) });
}

/** Lets `ms` pass, and then one turn of the event loop. */
function pass(ms: number): void {
  vi.advanceTimersByTime(ms);
  vi.advanceTimersToNextTimer(); // of setImmediate(), if there is one
}

const underWay = (): UnderWay & { readonly ends: string[] } => {
  const ends: string[] = [];
  return { ends, cancel: () => ends.push('cancelled'), giveUp: () => ends.push('given up') };
};

describe('a connection in the making', () => {
  test('is given up after a try, and the next ones after twice as long, up to 2.5 s', () => {
    const limits = [1_000, 2_000, 2_500, 2_500].map((limitMs) => {
      vi.advanceTimersByTime(limitMs - 10);
      const before = connection.isRetired;
      vi.advanceTimersByTime(20);
      const found = [before, connection.isRetired, channel.isDestroyed, connection.failure];
      connect();
      return found;
    });

    expect(limits).toEqual(
      [1_000, 2_000, 2_500, 2_500].map((ms) => [false, true, true, `No connection established within ${String(ms)} ms`]),
    );
  });

  test('gets the time of a try again once a connection was made', () => {
    vi.advanceTimersByTime(1_010);
    connect();
    channel.become(states.READY);
    connection.retire();
    connect();

    vi.advanceTimersByTime(1_010);

    expect(connection.isRetired).toBe(true);
  });

  test('is not given up while a name server is asked', () => {
    channel.isResolved = false;
    vi.advanceTimersByTime(20_000);
    expect(connection.isRetired).toBe(false);
    channel.isResolved = true;

    vi.advanceTimersByTime(1_010);

    expect(connection.isRetired).toBe(true);
  });

  test('is not given up by a call without a response', () => {
    vi.advanceTimersByTime(900);

    connection.check(1);

    expect(connection.isRetired).toBe(false);
  });
});

describe('an open connection', () => {
  beforeEach(() => {
    channel.become(states.READY);
    vi.advanceTimersByTime(5_000);
  });

  const timeOut = (ms: number): void => {
    const sentAt = performance.now();
    vi.advanceTimersByTime(ms);
    connection.check(sentAt);
  };

  test('is left when calls have waited for 300 ms in all without a byte', () => {
    timeOut(140);
    timeOut(140);
    vi.advanceTimersByTime(10_000);
    expect(connection.isRetired).toBe(false);

    timeOut(20);

    expect(connection.isRetired).toBe(true);
  });

  test('stays if bytes arrive between the calls without a response', () => {
    for (let n = 0; n < 10; n += 1) {
      timeOut(200);
      vi.advanceTimersByTime(1);
      connection.receivedAt = performance.now();
      vi.advanceTimersByTime(1);
    }

    expect(connection.isRetired).toBe(false);
  });

  test.each([
    ['is left', 'first', 100, true],
    ['stays', 'second', 1_300, false],
  ])('%s if a byte came in the %s half of a call without a response', (_, _half, byteAfterMs, isRetired) => {
    const sentAt = performance.now();
    vi.advanceTimersByTime(byteAfterMs);
    connection.receivedAt = performance.now();
    vi.advanceTimersByTime(2_500 - byteAfterMs);

    connection.check(sentAt);

    expect(connection.isRetired).toBe(isRetired);
  });

  test('ends its streams when it is silent, and closes its sockets when its last call has ended', () => {
    const [call, stream] = [{ cancel: () => undefined }, underWay()];
    connection.started(call);
    connection.started(stream);
    timeOut(300);
    expect(stream.ends).toEqual(['given up']);
    connection.ended(stream);
    pass(1_000);
    expect([channel.isDestroyed, isClosed]).toEqual([false, false]);

    connection.ended(call);
    pass(0);

    expect([channel.isDestroyed, isClosed]).toEqual([true, true]);
  });

  test('cancels its calls and closes its sockets at close()', () => {
    const stream = underWay();
    connection.started(stream);

    connection.close();
    pass(0);

    expect(stream.ends).toEqual(['cancelled']);
    expect(channel.isDestroyed).toBe(true);
  });
});

test('channelFactory() takes no credentials of etcd3, which may have another copy of grpc-js', () => {
  const foreign = Object.create(null) as grpc.ChannelCredentials;

  const channel = channelFactory(grpc, undefined)('127.0.0.1:1', foreign, {});

  expect(channel.getTarget()).toBe('etcd-locker:127.0.0.1:1');
  channel.destroy();
});
