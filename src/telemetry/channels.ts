/**
 * The channels of this package, and how messages get there.
 *
 * Subscribers are code of the user. Each event is published in a microtask of its own, so no subscriber runs in the middle of a step of
 * the library. A subscriber that throws harms no lock: Node reports its error as an uncaught exception, in a later tick.
 *
 * Channels are global by their names, so all copies of this package in a process publish on the same ones. Read in this folder:
 * messages.ts (what is published), this file.
 */
import diagnostics from 'node:diagnostics_channel';
import { runInMicrotask } from '../microtask.ts';
import type { AcquireMessage, ChannelMessages, ChannelName } from './messages.ts';

/** The part of a channel that this package uses. Runtimes other than Node may lack `runStores`. */
interface Channel<Message> {
  readonly hasSubscribers: boolean;
  publish(message: Message): void;
  runStores?(message: Message, fn: () => unknown): unknown;
}

const channelOf = <Name extends ChannelName>(name: Name): Channel<ChannelMessages[Name]> => diagnostics.channel(name);

export const channels = {
  held: channelOf('etcd-locker:held'),
  released: channelOf('etcd-locker:released'),
  lost: channelOf('etcd-locker:lost'),
  renewalFailed: channelOf('etcd-locker:renewal-failed'),
  renewalRecovered: channelOf('etcd-locker:renewal-recovered'),
  hostChanged: channelOf('etcd-locker:host-changed'),
};

const acquire = {
  start: channelOf('tracing:etcd-locker:acquire:start'),
  end: channelOf('tracing:etcd-locker:acquire:end'),
  asyncStart: channelOf('tracing:etcd-locker:acquire:asyncStart'),
  asyncEnd: channelOf('tracing:etcd-locker:acquire:asyncEnd'),
  error: channelOf('tracing:etcd-locker:acquire:error'),
};

/** Publishes the message in a microtask. The caller checks first that the channel has subscribers, and builds no message otherwise. */
export function publishLater<Message extends object>(channel: Channel<Message>, message: Message): void {
  Object.freeze(message);
  runInMicrotask(() => {
    channel.publish(message);
  });
}

/** Whether somebody listens to calls that ask for locks. */
export const isAcquireTraced = (): boolean =>
  acquire.start.hasSubscribers ||
  acquire.asyncEnd.hasSubscribers ||
  acquire.end.hasSubscribers ||
  acquire.asyncStart.hasSubscribers ||
  acquire.error.hasSubscribers;

/** What a traced call adds to its message when it ends. */
export type AcquireEnd = Pick<AcquireMessage, 'result' | 'waitMs' | 'locks'>;

/**
 * Runs a call as `TracingChannel.tracePromise` does, but without its result in the message: a subscriber must not keep a lock.
 *
 * @param describe returns what the message gets at the end: `outcome.value` is the result of the call, unless it rejected
 */
export function traceAcquire<T>(
  begin: AcquireMessage,
  call: () => Promise<T>,
  describe: (outcome: { readonly value: T } | { readonly error: unknown }) => AcquireEnd,
): Promise<T> {
  const message = { ...begin };
  const endWith = (outcome: { readonly value: T } | { readonly error: unknown }): void => {
    Object.assign(message, describe(outcome));
    if ('error' in outcome) {
      Object.assign(message, { error: outcome.error });
      acquire.error.publish(message);
    }
    acquire.asyncStart.publish(message);
    acquire.asyncEnd.publish(message);
  };
  const run = (): Promise<T> => {
    const promise = call().then(
      (value) => {
        endWith({ value });
        return value;
      },
      (error: unknown) => {
        endWith({ error });
        throw error;
      },
    );
    acquire.end.publish(message);
    return promise;
  };
  if (acquire.start.runStores !== undefined) return acquire.start.runStores(message, run) as Promise<T>;
  acquire.start.publish(message);
  return run();
}
