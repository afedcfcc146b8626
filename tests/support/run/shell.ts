/**
 * Splits a shell script into its simple commands, as words.
 *
 * It knows quotes, comments, continued lines, redirections and command substitution. It expands nothing.
 */
const token =
  /\\\n|(?<=^|[\s;&|()])#[^\n]*|(?<=^|[\s;&|()])\d*[<>]+&?[ \t]*[^\s;&|()]*|'[^']*'|"(?:\\[^]|[^"\\])*"|\\.|\$?\(|[;&|)\n`]+|[ \t]+|[^\s'"\\;&|()\n`$]+|\$/g;
const keywords = new Set(['if', 'then', 'else', 'elif', 'while', 'until', 'do', '!', 'time', 'exec', '{', 'sudo']);

export function commandsIn(script: string): string[][] {
  const commands: string[][] = [];
  let words: string[] = [];
  let word: string | undefined;
  const endWord = (): void => {
    if (word !== undefined) words.push(word);
    word = undefined;
  };
  const endCommand = (): void => {
    endWord();
    commands.push(words);
    words = [];
  };
  for (const [part] of script.matchAll(token)) {
    if (/^(\\\n|[ \t]|#|\d*[<>])/.test(part) && word !== '$') endWord();
    else if (/^[;&|)(\n`]|^\$\($/.test(part)) endCommand();
    else if (part.startsWith('"')) {
      const text = part.slice(1, -1);
      if (text.includes('$(')) commands.push(...commandsIn(text.slice(text.indexOf('$('))));
      word = (word ?? '') + text.replaceAll(/\\(["$`\\])/g, '$1');
    } else word = (word ?? '') + (part.startsWith("'") ? part.slice(1, -1) : part.replace(/^\\/, ''));
  }
  endCommand();
  return commands.map(withoutPrefix).filter((command) => command.length > 0);
}

/** Removes keywords and assignments before the command. */
function withoutPrefix(words: string[]): string[] {
  const first = words.findIndex((word) => !keywords.has(word) && !/^\w+=/.test(word));
  return first < 0 ? [] : words.slice(first);
}

/** Returns the arguments of each call of a command, also through npx. */
export const callsOf = (name: string, script: string): string[][] =>
  commandsIn(script)
    .map((words) => (words[0] === 'npx' ? words.slice(words.findIndex((word, index) => index > 0 && !word.startsWith('-'))) : words))
    .filter(([command]) => command === name)
    .map((words) => words.slice(1));
