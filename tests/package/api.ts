/**
 * The public API of the built package as text: each exported name of each entry point, with its declaration.
 *
 * `npm run api:accept` writes the texts to api/. A test compares them with the build, so a change of the API shows in the diff of a commit.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = fileURLToPath(new URL('api/', import.meta.url));

export type ModuleKind = 'import' | 'require';
type Exports = Record<string, string | Record<ModuleKind, { readonly types: string }>>;

/** Returns the declaration file of each entry point that has types, by the name that users import. */
function findEntries(kind: ModuleKind): Map<string, string> {
  const { name, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { name: string; exports: Exports };
  const entries = Object.entries(exports).flatMap(([path, target]) =>
    typeof target === 'string' ? [] : [[`${name}${path.slice(1)}`, join(root, target[kind].types)] as const],
  );
  return new Map(entries);
}

const fileOf = (entry: string): string => `${entry.replaceAll('/', '.')}.d.ts.txt`;

/** Describes the API of the build in dist. The keys are the names of the files in api/. */
export function describeApi(kind: ModuleKind = 'import'): Map<string, string> {
  const entries = findEntries(kind);
  const program = ts.createProgram([...entries.values()], { module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2023, noEmit: true });
  return new Map([...entries].map(([entry, file]) => [fileOf(entry), describeEntry(program, entry, file)]));
}

function describeEntry(program: ts.Program, entry: string, file: string): string {
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(file);
  const module = source && checker.getSymbolAtLocation(source);
  if (module === undefined) throw new Error(`Cannot read ${file}: build the package first`);
  const parts = checker.getExportsOfModule(module).map((symbol) => ({ name: symbol.name, text: describeSymbol(checker, symbol) }));
  parts.sort((a, b) => (a.name < b.name ? -1 : 1));
  return [`// The exports of '${entry}'. Written by \`npm run api:accept\`.`, ...parts.map(({ text }) => text)].join('\n\n') + '\n';
}

const printer = ts.createPrinter({ removeComments: true });

function describeSymbol(checker: ts.TypeChecker, symbol: ts.Symbol): string {
  const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const declarations = (target.declarations ?? []).map((declaration) => {
    const node = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
    return printer.printNode(ts.EmitHint.Unspecified, node, declaration.getSourceFile());
  });
  // The bundler numbers names that are in more than one file.
  const text = declarations.map((one) => one.replaceAll(/\$\d+\b/g, '').replace(/^(export )?(declare )?/, 'export ')).join('\n');
  return target.name.replace(/\$\d+$/, '') === symbol.name ? text : `// as ${symbol.name}\n${text}`;
}

export const readAccepted = (): Map<string, string> =>
  new Map(readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), 'utf8')] as const));

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  for (const [file, text] of describeApi()) writeFileSync(join(folder, file), text);
}
