/** A bidirectional stream of messages as bytes, on the public call of grpc-js. */
import { type CallFailure, noResponse } from './call-failure.ts';
import { type Channel, unlessClosed } from './channel.ts';
import type { UnderWay } from './connection.ts';

export interface StreamListener {
  message(message: Buffer): void;
  /** Called once, and never after `end` or `timeOut`. */
  ended(failure: CallFailure): void;
}

export interface Stream {
  write(message: Buffer): void;
  end(): void;
  /** Ends the stream because a response is overdue. */
  timeOut(): void;
  /** Whether a new stream would use another token or another channel. */
  isOutdated(): boolean;
}

/** What the client does with the end of a stream. */
export interface StreamOwner {
  /** Returns the failure to report for a status that etcd sent. */
  readonly toFailure: (code: number, details: string, writtenAt: number) => CallFailure;
  /** Checks a channel without a response, and calls `then` afterwards. */
  readonly onTimeOut: (writtenAt: number, then: () => void) => void;
  readonly isOutdated: () => boolean;
}

const asIs = (message: Buffer): Buffer => message;

/**
 * Opens a stream that etcd ends if the member has no leader.
 * @throws {CallFailure} the channel is closed
 */
export function openStream(channel: Channel, method: string, listener: StreamListener, owner: StreamOwner): Stream {
  const metadata = channel.metadata.clone();
  metadata.set('hasleader', 'true');
  const call = unlessClosed(() => channel.client.makeBidiStreamRequest(method, asIs, asIs, metadata));
  let hasEnded = false;
  let writtenAt = performance.now();
  const underWay: UnderWay = {
    cancel: () => {
      call.cancel();
    },
    giveUp: () => {
      if (hasEnded) return;
      hasEnded = true;
      call.cancel();
      listener.ended(noResponse(performance.now() - writtenAt));
    },
  };
  channel.connection.started(underWay);
  call.on('data', (message: Buffer) => {
    channel.connection.receivedAt = performance.now();
    if (!hasEnded) listener.message(message);
  });
  // 'status' follows each 'error' and reports the same.
  call.on('error', () => undefined);
  call.on('status', ({ code, details }) => {
    channel.connection.ended(underWay);
    if (hasEnded) return;
    hasEnded = true;
    listener.ended(owner.toFailure(code, details, writtenAt));
  });
  return {
    isOutdated: owner.isOutdated,
    write: (message) => {
      if (hasEnded) return;
      writtenAt = performance.now();
      call.write(message);
    },
    end: () => {
      if (hasEnded) return;
      hasEnded = true;
      call.cancel();
    },
    timeOut: () => {
      if (hasEnded) return;
      hasEnded = true;
      owner.onTimeOut(writtenAt, () => {
        call.cancel();
      });
    },
  };
}
