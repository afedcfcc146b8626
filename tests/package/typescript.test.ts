/** The types of the packed package, compiled by each line of TypeScript that it supports. npm installs the compilers once. */
import { execFile } from 'node:child_process';
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { installTool } from '../support/run/npm-tools.ts';
import { root, type Unpacked, unpackPackage } from './unpack.ts';

const run = promisify(execFile);
const own = { version: '6', file: join(root, 'node_modules', 'typescript', 'bin', 'tsc') };
const others = await Promise.all(
  ['5.4', '5.9', '7'].map(async (version) => ({ version, file: await installTool('typescript', version, 'bin/tsc') })),
);
const compilers = [own, ...others.flatMap(({ version, file }) => (file === null ? [] : [{ version, file }]))];
let unpacked: Unpacked;

// A compiler checks the types of Node as well, and a busy machine is slow at it.
vi.setConfig({ testTimeout: 60_000 });

beforeAll(async () => {
  unpacked = await unpackPackage(['@types/node']);
  for (const ending of ['mts', 'cts']) await cp(join(unpacked.folder, 'types.ts'), join(unpacked.folder, `types.${ending}`));
});

afterAll(() => unpacked.remove());

/** Compiles files of the folder, strictly. Returns what the compiler prints. */
async function compile(tsc: string, name: string, options: Record<string, unknown>, files: readonly string[]): Promise<string> {
  const compilerOptions = {
    ...{ target: 'es2022', lib: ['es2022', 'esnext.disposable'], types: ['node'], noEmit: true },
    ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false },
    ...options,
  };
  await writeFile(join(unpacked.folder, `tsconfig.${name}.json`), JSON.stringify({ compilerOptions, files }));
  const { stdout } = await run(process.execPath, [tsc, '-p', `tsconfig.${name}.json`], { cwd: unpacked.folder }).catch(
    (error: unknown) => error as { stdout: string },
  );
  return stdout;
}

describe.each(compilers)('TypeScript $version compiles a strict project', ({ version, file }) => {
  test('of ES modules and CommonJS', async () => {
    expect(await compile(file, `${version}.nodenext`, { module: 'nodenext' }, ['types.mts', 'types.cts'])).toBe('');
  });

  test('for a bundler', async () => {
    const options = { module: 'esnext', moduleResolution: 'bundler', skipLibCheck: true };

    expect(await compile(file, `${version}.bundler`, options, ['types.ts'])).toBe('');
  });
});

// TypeScript 6 warns of this setting, and 7 no longer has it.
describe.each(compilers.filter(({ version }) => version !== '7'))('TypeScript $version compiles a project', ({ version, file }) => {
  test('with moduleResolution node10', async () => {
    const options = {
      module: 'commonjs',
      moduleResolution: 'node10',
      skipLibCheck: true,
      ...(version === '6' ? { ignoreDeprecations: '6.0' } : {}),
    };

    expect(await compile(file, `${version}.node10`, options, ['node10.ts'])).toBe('');
  });
});
