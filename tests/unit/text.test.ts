/** Tests of quoting and printing text on one line. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { onOneLine, quote } from '../../src/text.ts';

const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
  fc.string({
    unit: fc.constantFrom('a', ' ', '"', '\\', '\n', '\r', '\0', '\x1b', '\x7f', '\x85', '\u2028', '\u202e', '\u2066', '\ud800'),
  }),
);
const hostile = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u;

describe('quote()', () => {
  test.each([
    ['a', '"a"'],
    ['a"b\\', '"a\\"b\\\\"'],
    ['a\nb\0\x1b[2J', '"a\\nb\\u0000\\u001b[2J"'],
    ['\x7f\x85\u2028\u2029', '"\\u007f\\u0085\\u2028\\u2029"'],
    ['\u202egnp.\u2066', '"\\u202egnp.\\u2066"'],
    ['\ud800 😀 ä', '"\\ud800 😀 ä"'],
  ])('quotes %j as %j', (text, quoted) => {
    expect(quote(text)).toBe(quoted);
  });

  test('returns one line without hostile characters, and JSON.parse reads any text back', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(quote(text)).not.toMatch(hostile);
        expect(quote(text).isWellFormed()).toBe(true);
        expect(JSON.parse(quote(text))).toBe(text);
      }),
    );
  });
});

describe('onOneLine()', () => {
  test.each([
    ['all is well: "a"', 'all is well: "a"'],
    ['one \r\n  two\nthree', 'one two three'],
    ['\x1b[2J\u202e', '\\u001b[2J\\u202e'],
  ])('prints %j as %j', (text, line) => {
    expect(onOneLine(text)).toBe(line);
  });

  test('returns no character that breaks a line or controls a terminal', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(onOneLine(text)).not.toMatch(hostile);
      }),
    );
  });
});
