/** The names of spans, instruments and attributes. docs/telemetry.md has a table of them. */
import type { Attributes } from '@opentelemetry/api';
import { isLockerError } from '../errors.ts';
import type { LockMessage } from '../telemetry/messages.ts';

export const attribute = {
  name: 'etcd_locker.name',
  names: 'etcd_locker.names',
  operation: 'etcd_locker.operation',
  mode: 'etcd_locker.mode',
  slots: 'etcd_locker.slots',
  result: 'etcd_locker.result',
  fencingToken: 'etcd_locker.fencing_token',
  leaseId: 'etcd_locker.lease_id',
  end: 'etcd_locker.end',
  lossReason: 'etcd_locker.loss.reason',
  errorType: 'error.type',
} as const;

/** A fencing token is larger than a number can be in theory, so it is a string. Any number of shared slots is -1. */
export const describeLock = ({ name, mode, slots, fencingToken, leaseId }: LockMessage): Attributes => ({
  [attribute.name]: name,
  [attribute.mode]: mode,
  [attribute.slots]: toNumber(slots),
  [attribute.fencingToken]: String(fencingToken),
  [attribute.leaseId]: leaseId,
});

export const toNumber = (slots: number): number => (slots === Infinity ? -1 : slots);

/** `error.type` of the semantic conventions: few values, so the code of an error, or the name of its class. */
export function errorTypeOf(error: unknown): string {
  if (isLockerError(error)) return error.code;
  return error instanceof Error ? error.name : '_OTHER';
}

/** Identifies one hold. */
export const idOf = ({ key, fencingToken }: LockMessage): string => `${key} ${String(fencingToken)}`;
