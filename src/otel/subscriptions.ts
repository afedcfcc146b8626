/** Subscribes to the channels, and passes each message on to the parts that want it. */
import diagnostics from 'node:diagnostics_channel';
import type { ChannelMessages, ChannelName } from '../telemetry/messages.ts';

/** A part of the instrumentation. It has a method for each channel that it uses. */
export interface Listener {
  onAcquireStart?(message: ChannelMessages['tracing:etcd-locker:acquire:start']): void;
  onAcquireEnd?(message: ChannelMessages['tracing:etcd-locker:acquire:asyncEnd']): void;
  onHeld?(message: ChannelMessages['etcd-locker:held']): void;
  onReleased?(message: ChannelMessages['etcd-locker:released']): void;
  onLost?(message: ChannelMessages['etcd-locker:lost']): void;
  onRenewalFailed?(message: ChannelMessages['etcd-locker:renewal-failed']): void;
  onHostChanged?(message: ChannelMessages['etcd-locker:host-changed']): void;
}

/** Returns the function that unsubscribes. */
export function subscribeAll(listeners: readonly Listener[]): () => void {
  const endings: (() => void)[] = [];
  const subscribe = <Name extends ChannelName>(name: Name, notify: (listener: Listener, message: ChannelMessages[Name]) => void): void => {
    const onMessage = (message: unknown): void => {
      for (const listener of listeners) notify(listener, message as ChannelMessages[Name]);
    };
    diagnostics.subscribe(name, onMessage);
    endings.push(() => diagnostics.unsubscribe(name, onMessage));
  };
  subscribe('tracing:etcd-locker:acquire:start', (listener, message) => listener.onAcquireStart?.(message));
  subscribe('tracing:etcd-locker:acquire:asyncEnd', (listener, message) => listener.onAcquireEnd?.(message));
  subscribe('etcd-locker:held', (listener, message) => listener.onHeld?.(message));
  subscribe('etcd-locker:released', (listener, message) => listener.onReleased?.(message));
  subscribe('etcd-locker:lost', (listener, message) => listener.onLost?.(message));
  subscribe('etcd-locker:renewal-failed', (listener, message) => listener.onRenewalFailed?.(message));
  subscribe('etcd-locker:host-changed', (listener, message) => listener.onHostChanged?.(message));
  return () => {
    for (const end of endings) end();
  };
}
