/** Escapes text of unknown origin, so that it stays on one line and cannot control a terminal. */

// Control characters, line separators, and characters that change the direction of text.
const controls = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;

const toEscape = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** Writes each character that could control a terminal as `\u` and four hex digits, line breaks included. */
export const escapeControls = (text: string): string => text.replace(controls, toEscape);

/** Returns the text as a JSON string in quotes, on one line, with every control character escaped. */
export const quote = (text: string): string => escapeControls(JSON.stringify(text));

/** Returns a message on one line: line breaks become spaces, other control characters are escaped. */
export const onOneLine = (message: string): string => escapeControls(message.replace(/\s*[\r\n]\s*/g, ' '));
