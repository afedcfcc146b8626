/** The `LockManager` of one locker. Its methods follow the steps of the specification. */
import { throwIfAborted } from '../abort.ts';
import type { Internals } from '../locker/internals.ts';
import { convertArguments, type RequestArguments } from './arguments.ts';
import { ClientOrder } from './client-order.ts';
import { domException, toCallError, toWaitingError } from './errors.ts';
import { defineInterface } from './held-lock.ts';
import { Request } from './request.ts';
import { takeSnapshot } from './snapshot.ts';
import type { HeldLock, LockGrantedCallback, LockOptions, LockSnapshot, WebLockManager } from './types.ts';

export class Manager implements WebLockManager {
  readonly #internals: Internals;
  readonly #order = new ClientOrder();

  constructor(internals: Internals) {
    this.#internals = internals;
  }

  request<T>(name: string, callback: LockGrantedCallback<T, HeldLock>): Promise<Awaited<T>>;
  request<T>(name: string, options: LockOptions, callback: LockGrantedCallback<T, HeldLock>): Promise<Awaited<T>>;
  // Async, because even a wrong argument and a wrong `this` reject the promise.
  async request(...input: readonly unknown[]): Promise<unknown> {
    const internals = this.#internals;
    const args = convertArguments(input);
    throwIfClosed(internals);
    throwIfRefused(args);
    const request = new Request(internals, this.#order, args);
    this.#order.run(args.name, () => request.begin());
    return request.promise;
  }

  async query(): Promise<LockSnapshot> {
    const internals = this.#internals;
    throwIfClosed(internals);
    const read = async (): Promise<LockSnapshot> => {
      // The snapshot includes the earlier requests of this client.
      await this.#order.whenDecided();
      await internals.queues.whenEnqueued();
      return takeSnapshot(internals);
    };
    try {
      return await internals.untilClosed(read);
    } catch (error) {
      throw toWaitingError(error);
    }
  }
}

defineInterface(Manager, 'LockManager', ['request', 'query']);
Object.defineProperty(Reflect.get(Manager.prototype, 'request'), 'length', { value: 2 });

function throwIfClosed(internals: Internals): void {
  try {
    internals.resolve();
  } catch (error) {
    throw toCallError(error);
  }
}

/** Throws for requests that the specification does not support, in its order, and for an aborted signal. */
function throwIfRefused({ name, options: { ifAvailable, mode, signal, steal } }: RequestArguments): void {
  if (name.startsWith('-')) throw notSupported("names that begin with '-' are reserved");
  if (steal && ifAvailable) throw notSupported('expected either steal or ifAvailable, got both');
  if (steal && mode !== 'exclusive') throw notSupported("expected mode 'exclusive' beside steal");
  if (signal !== undefined && (steal || ifAvailable)) throw notSupported('expected no signal beside steal or ifAvailable');
  throwIfAborted(signal);
}

const notSupported = (reason: string): DOMException => domException('NotSupportedError', `Cannot request lock: ${reason}`);
