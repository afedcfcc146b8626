/** Reads Markdown pages: which there are, their links, their headings, and their code blocks. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** The pages for users: the README and docs/*.md, without the decisions. */
export const pages: readonly string[] = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
];

export const readPage = (path: string): string => readFileSync(join(root, path), 'utf8');

export interface Block {
  readonly page: string;
  /** The line of the opening fence, from 1. */
  readonly line: number;
  /** The heading above the block. */
  readonly heading: string;
  readonly language: string;
  /** The rest of the opening fence, such as `check`. */
  readonly mode: string;
  readonly code: string;
}

/** Returns the fenced blocks of a page. A fence may be indented, as in a list. */
export function blocksOf(page: string, markdown = readPage(page)): Block[] {
  let heading = '';
  return [...markdown.matchAll(/^#+ (.+)$|^( *)```(\S*)[ \t]*(.*)\n([^]*?)^ *```$/gm)].flatMap(
    ({ index, 1: title, 2: indent = '', 3: language = '', 4: mode = '', 5: text = '' }) => {
      if (title !== undefined) {
        heading = title;
        return [];
      }
      const code = text.replaceAll(new RegExp(`^${indent}`, 'gm'), '');
      return [{ page, line: markdown.slice(0, index).split('\n').length, heading, language, mode: mode.trim(), code }];
    },
  );
}

export const withoutCode = (markdown: string): string =>
  markdown.replace(/^ *```[^]*?^ *```$/gm, '').replace(/`[^`\n]*`/g, (code) => code.slice(1, -1));

/** Returns the targets of links and pictures, in Markdown and in HTML. */
export const linksOf = (markdown: string): string[] => {
  const text = withoutCode(markdown);
  return [/\]\(([^)\s]+)\)/g, /\b(?:href|src|srcset)="([^"]+)"/g].flatMap((form) =>
    [...text.matchAll(form)].map(([, target = '']) => target),
  );
};

/** Returns the numbers of the lines that are longer than 100 characters. Tables, code, and the targets of links do not count. */
export function longLinesOf(markdown: string): number[] {
  let isCode = false;
  return markdown.split('\n').flatMap((line, index) => {
    if (/^ *```/.test(line)) isCode = !isCode;
    const text = line.replaceAll(/\]\([^)\s]+\)/g, ']');
    // A line that cites tests has their titles, which are found as a whole.
    const isFree = isCode || line.startsWith('|') || /^- `tests\//.test(line);
    return isFree || text.length <= 100 ? [] : [index + 1];
  });
}

/** Reports whether the tag of the fence says what is checked. */
export const isKnownFence = ({ language, mode }: Block): boolean =>
  /^((ts|js)( check| from \S+)?|json|sh|text|yaml|mermaid|sql|go|diff|ini|dockerfile)$/.test(`${language} ${mode}`.trim());

/** Builds the anchors of the headings as GitHub does. */
export const anchorsOf = (markdown: string): string[] =>
  [...withoutCode(markdown).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  );

/** Returns the cells of one column of the tables under a heading, from 1, without their backticks. */
export function columnOf(markdown: string, heading: string, column = 1): string[] {
  const [, level = '', section = ''] = new RegExp(`^(#+) ${heading}\n([^]*?)(?=^#{1,2} |(?![^]))`, 'm').exec(markdown) ?? [];
  return level === ''
    ? []
    : section
        .split('\n')
        .filter((line) => line.startsWith('| `'))
        .map((line) => line.split('|')[column]?.trim().replaceAll('`', '') ?? '');
}
