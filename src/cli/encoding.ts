/**
 * Finds arguments and variables whose bytes are not UTF-8.
 *
 * Node replaces such bytes by U+FFFD. So COMMAND would get another argument, and two names could become one.
 */
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';

/** Returns the positions, from 0, of the arguments in `argv` that Node changed. `argv` has the last arguments of this process. */
export function findChangedArguments(argv: readonly string[]): readonly number[] {
  const found = readParts('/proc/self/cmdline').slice(-argv.length);
  // An option of Node that sets the title of this process overwrites its command line.
  const isSame = found.length === argv.length && found.every((bytes, index) => !isUtf8(bytes) || bytes.toString() === argv[index]);
  return [...argv.keys()].filter((index) => {
    const bytes = isSame ? found[index] : undefined;
    return bytes === undefined ? isSuspect(argv[index] ?? '') : !isUtf8(bytes);
  });
}

/** Returns the names of the variables that Node changed, in their names or in their values. */
export function findChangedVariables(env: NodeJS.ProcessEnv): ReadonlySet<string> {
  const found = readParts('/proc/self/environ');
  const changed =
    found.length > 0
      ? found.filter((bytes) => !isUtf8(bytes)).map((bytes) => bytes.toString().split('=', 1)[0] ?? '')
      : Object.keys(env).filter((name) => isSuspect(name) || isSuspect(env[name] ?? ''));
  return new Set(changed);
}

/** Without the bytes, a genuine U+FFFD looks like a replaced one. Windows has no bytes here. */
const isSuspect = (text: string): boolean => process.platform !== 'win32' && text.includes('\ufffd');

/** Returns the parts of a file of Linux that ends each part with a zero byte. Returns nothing on other systems. */
function readParts(file: string): Buffer[] {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch {
    return [];
  }
  const parts: Buffer[] = [];
  for (let from = 0; from < bytes.length;) {
    const end = bytes.indexOf(0, from);
    const to = end < 0 ? bytes.length : end;
    parts.push(bytes.subarray(from, to));
    from = to + 1;
  }
  return parts;
}
