/** Text of unknown origin in messages, which stay on one line and do nothing to a terminal. */

// Control characters, line separators, and what turns the direction of a line around.
const hostile = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;

const escaped = (sign: string): string => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** In quotes, on one line, and without what makes a terminal do things or show the line in another order. */
export const quote = (text: string): string => JSON.stringify(text).replace(hostile, escaped);

/** A whole message, where others had a say in it: breaks of lines become spaces. */
export const onOneLine = (message: string): string => message.replace(/\s*[\r\n]\s*/g, ' ').replace(hostile, escaped);
