/** A service of an application, with two locked methods. */
import { Injectable } from '@nestjs/common';
import { currentLock, Locked } from './locked.decorator.js';

@Injectable()
export class OrdersService {
  readonly paid: string[] = [];

  /** One call at a time for each order, over all processes. */
  @Locked((id: string) => `orders/${id}`, { timeoutMs: 2_000 })
  async pay(id: string, charge: (signal: AbortSignal) => Promise<void>): Promise<string> {
    const { signal, fencingToken } = currentLock();
    await charge(signal); // aborts if the lock is lost
    this.paid.push(id);
    return `paid ${id} with token ${fencingToken}`;
  }

  /** Up to two reports at a time, over all processes. */
  @Locked('reports', { slots: 2 })
  async report(): Promise<number> {
    return Promise.resolve(this.paid.length);
  }
}
