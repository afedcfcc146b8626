/** An error that nobody has caught, ours or a dependency's: Node would end us at once, and leave a command running without its lock. */
import { endingOf } from './failures.ts';
import { finish } from './signals.ts';

const endAtOnce = (error: unknown): void => {
  finish(endingOf(error));
};
let handle = endAtOnce;

/** Rejections that nobody handles come here as well. */
export function catchUncaughtErrors(): void {
  process.on('uncaughtException', (error) => {
    handle(error);
  });
}

/** Until the answer is called `handler` sees to the end. */
export function onUncaughtError(handler: (error: unknown) => void): () => void {
  handle = handler;
  return () => {
    handle = endAtOnce;
  };
}
