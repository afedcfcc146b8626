/** The `LockManager` of one locker: the steps of its methods, as the specification has them. */
import { keepAlive } from '../clock.ts';
import type { Internals } from '../locker/internals.ts';
import { convertArguments, type RequestArguments } from './arguments.ts';
import { closedError, domException } from './errors.ts';
import { likeWebIDL } from './held-lock.ts';
import { Request } from './request.ts';
import { snapshot } from './snapshot.ts';
import { ClientOrder } from './client-order.ts';
import type { HeldLock, LockGrantedCallback, LockOptions, LockSnapshot, WebLockManager } from './types.ts';

export class Manager implements WebLockManager {
  readonly #internals: Internals;
  readonly #order = new ClientOrder();

  constructor(internals: Internals) {
    this.#internals = internals;
  }

  request<T>(name: string, callback: LockGrantedCallback<T, HeldLock>): Promise<Awaited<T>>;
  request<T>(name: string, options: LockOptions, callback: LockGrantedCallback<T, HeldLock>): Promise<Awaited<T>>;
  // Whatever it throws rejects its promise: a wrong argument, and a `this` that is no LockManager.
  async request(...given: readonly unknown[]): Promise<unknown> {
    const internals = this.#internals;
    const asked = convertArguments(given);
    throwIfClosed(internals);
    check(asked);
    const request = new Request(internals, this.#order, asked);
    this.#order.run(asked.name, () => request.begin());
    return request.promise;
  }

  async query(): Promise<LockSnapshot> {
    const internals = this.#internals;
    throwIfClosed(internals);
    return keepAlive(internals.context.clock, async () => {
      // The snapshot includes the earlier requests of this client.
      await this.#order.whenDecided();
      await internals.queues.whenEnqueued();
      return snapshot(internals);
    });
  }
}

likeWebIDL(Manager, 'LockManager', ['request', 'query']);
Object.defineProperty(Reflect.get(Manager.prototype, 'request'), 'length', { value: 2 });

function throwIfClosed(internals: Internals): void {
  try {
    internals.resolve();
  } catch (error) {
    throw closedError(error);
  }
}

/** What the method's steps refuse before anything is asked for, in their order. */
function check({ name, options: { ifAvailable, mode, signal, steal } }: RequestArguments): void {
  if (name.startsWith('-')) throw notSupported("names that begin with '-' are reserved");
  if (steal && ifAvailable) throw notSupported('steal and ifAvailable exclude each other');
  if (steal && mode !== 'exclusive') throw notSupported('only an exclusive lock can be stolen');
  if (signal !== undefined && (steal || ifAvailable)) throw notSupported('signal goes neither with steal nor with ifAvailable');
  signal?.throwIfAborted();
}

const notSupported = (why: string): DOMException => domException('NotSupportedError', `Cannot request lock: ${why}`);
