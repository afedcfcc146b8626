/**
 * Text of unknown origin as it may stand in a message: in quotes, on one line, and without what makes a terminal do things or show
 * the line in another order.
 */
export const quote = (text: string): string =>
  JSON.stringify(text).replace(
    /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
