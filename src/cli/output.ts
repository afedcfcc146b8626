/** stdout, whose reader may be slow, or gone as after `| head -1`, or a disk that is full. */

/** What was to be written was not. */
export class OutputError extends Error {
  override readonly name = 'OutputError';
  readonly code: string;

  constructor(cause: NodeJS.ErrnoException) {
    super(`Cannot write to stdout: ${cause.message}`, { cause });
    this.code = cause.code ?? '';
  }
}

/** Resolves when it has been passed on: a process that exits before that loses it. */
export function write(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (error) reject(new OutputError(error));
      else resolve();
    });
  });
}

/**
 * The callback of a write tells its failure; told once more as an event, it would end this process with a command under way.
 * Where stderr cannot be written to, there is nobody to tell it to.
 */
export function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
}
