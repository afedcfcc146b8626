/** The specification's errors. */
import { isLockerError } from '../errors.ts';

export type ErrorName = 'AbortError' | 'InvalidStateError' | 'NotSupportedError';

export const domException = (name: ErrorName, message: string, cause?: unknown): DOMException =>
  new DOMException(message, cause === undefined ? { name } : { name, cause });

/** A closed locker is to a request what a document that is not active any more is in a browser. */
export const closedError = (cause: unknown): unknown =>
  isClosed(cause) ? domException('InvalidStateError', 'Cannot use locks: the locker is closed', cause) : cause;

/** What a request that waited is rejected with. */
export const waitingError = (cause: unknown): unknown =>
  isClosed(cause) ? domException('AbortError', 'Cannot acquire lock: the locker was closed', cause) : cause;

const isClosed = (error: unknown): boolean => isLockerError(error) && error.code === 'LOCKER_CLOSED';
