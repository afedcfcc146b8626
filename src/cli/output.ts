/** Writes to stdout. Its reader may be slow or gone (`| head -1`), and a disk may be full. */

/** Says that stdout could not be written to. */
export class OutputError extends Error {
  override readonly name = 'OutputError';
  readonly code: string;

  constructor(cause: NodeJS.ErrnoException) {
    super(`Cannot write to stdout: ${cause.message}`, { cause });
    this.code = cause.code ?? '';
  }
}

/** Resolves when the system has accepted the text: a process that exits earlier loses it. */
export function write(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (error) reject(new OutputError(error));
      else resolve();
    });
  });
}

/**
 * Ignores the 'error' events of stdout and stderr, which would end this process while its command runs.
 * The callback of `write` still reports a failure of stdout. A failure of stderr cannot be reported.
 */
export function ignoreStreamErrors(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
}
