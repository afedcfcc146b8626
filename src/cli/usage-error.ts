import { quote } from '../text.ts';

/** Says that the command line is invalid. The message names the option or argument and the expected value. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const shorten = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

/** Quotes at most 60 characters of the text. */
export const quoteShort = (text: string): string => quote(shorten(text));
