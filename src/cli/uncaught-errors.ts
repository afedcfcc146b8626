/** Handles uncaught errors. By default Node would exit at once, and the command would run on without its lock. */
import { reportError } from './failures.ts';
import { endProcess } from './signals.ts';

const endAtOnce = (error: unknown): void => {
  endProcess(reportError(error));
};
let handle = endAtOnce;

/** Handles uncaught exceptions and unhandled rejections. */
export function catchUncaughtErrors(): void {
  process.on('uncaughtException', (error) => {
    handle(error);
  });
}

/** Passes uncaught errors to `handler` instead of ending the process. Returns a function that restores the default. */
export function onUncaughtError(handler: (error: unknown) => void): () => void {
  handle = handler;
  return () => {
    handle = endAtOnce;
  };
}
