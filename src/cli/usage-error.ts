/** The command line is not what it must be; the message names the option and what was expected there. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const shortened = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

export const quoted = (text: string): string => JSON.stringify(shortened(text));
