/** Reads the links and headings of Markdown pages. */

export const withoutCode = (markdown: string): string =>
  markdown.replace(/^```[^]*?^```$/gm, '').replace(/`[^`\n]*`/g, (code) => code.slice(1, -1));

/** Builds the anchors of the headings as GitHub does. */
export const anchorsOf = (markdown: string): string[] =>
  [...withoutCode(markdown).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-'),
  );
