/** The errors of the specification. */
import { isLockerError } from '../errors.ts';

export type ErrorName = 'AbortError' | 'InvalidStateError' | 'NotSupportedError';

export const domException = (name: ErrorName, message: string, cause?: unknown): DOMException =>
  new DOMException(message, cause === undefined ? { name } : { name, cause });

/** Converts the error of a call on a closed locker. It corresponds to a browser's document that is not fully active. */
export const toCallError = (cause: unknown): unknown =>
  isClosed(cause) ? domException('InvalidStateError', 'Cannot use web locks: the locker is closed', cause) : cause;

/** Converts the error that rejects a waiting request or query. */
export const toWaitingError = (cause: unknown): unknown =>
  isClosed(cause) ? domException('AbortError', 'Cannot use web locks: the locker was closed', cause) : cause;

const isClosed = (error: unknown): boolean => isLockerError(error) && error.code === 'LOCKER_CLOSED';
