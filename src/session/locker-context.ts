/** The context of a locker, with the sessions that its queues use. */
import type { Context } from '../context.ts';
import type { Heartbeat } from './heartbeat.ts';
import type { SessionPool } from './session-pool.ts';

export interface LockerContext extends Context {
  readonly sessions: SessionPool;
  readonly heartbeat: Heartbeat;
}
