/**
 * The packed package, used by programs outside this repository.
 *
 * The programs run in a temporary folder. The package is unpacked there and its dependencies are linked, so nothing is downloaded.
 * `npm test` builds the package before it runs this file.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findOtherNode } from '../support/run/other-nodes.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const consumers = fileURLToPath(new URL('consumers/', import.meta.url));
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
  version: string;
  dependencies: Record<string, string>;
};
const other = await findOtherNode();
const nodes = [{ version: process.version, file: process.execPath }, ...(other === null ? [] : [other])];

let folder = '';
let unpacked = '';
let packed: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'package-'));
  unpacked = join(folder, 'node_modules', 'etcd-locker');
  // Without scripts, because the prepack script would rebuild dist while other tests use it.
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: root });
  // npm prints a list, or in some versions an object by package name.
  const [tarball] = Object.values(JSON.parse(stdout) as Record<string, { filename: string; files: { path: string }[] }>);
  if (tarball === undefined) throw new Error(`Cannot read the output of npm pack: ${stdout}`);
  packed = tarball.files.map(({ path }) => path);
  await run('tar', ['-xzf', join(folder, tarball.filename), '-C', folder]);
  await mkdir(dirname(unpacked));
  await rename(join(folder, 'package'), unpacked);
  for (const name of [...Object.keys(manifest.dependencies), '@types/node', 'undici-types']) {
    await mkdir(dirname(join(folder, 'node_modules', name)), { recursive: true });
    await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  }
  await cp(consumers, folder, { recursive: true });
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe('the tarball', () => {
  test('contains the build, its types and four other files', () => {
    const isBuilt = (path: string): boolean => /^dist\/((testing\/)?[\w-]+\.(js|cjs|d\.ts|d\.cts)|cli\/(main|start)\.js)$/.test(path);

    expect(packed.filter((path) => !isBuilt(path)).sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json']);
    expect(packed).toEqual(
      expect.arrayContaining(
        ['index', 'testing/index'].flatMap((entry) => ['js', 'cjs', 'd.ts', 'd.cts'].map((type) => `dist/${entry}.${type}`)),
      ),
    );
  });

  test('contains no path of the machine that built it', async () => {
    const texts = await Promise.all(packed.map((path) => readFile(join(unpacked, path), 'utf8')));

    expect(packed.filter((_, index) => texts[index]?.includes(root))).toEqual([]);
  });

  test('contains each error class once per module kind, so that instanceof works across entry points', async () => {
    const dist = (await readdir(join(unpacked, 'dist'), { recursive: true })).filter((path) => /\.c?js$/.test(path));
    const defining = async (ending: string): Promise<string[]> => {
      const files = dist.filter((path) => path.endsWith(ending));
      const texts = await Promise.all(files.map((path) => readFile(join(unpacked, 'dist', path), 'utf8')));
      return files.filter((_, index) => /LeaseNotFoundError = (\(\w+ = )?class/.test(texts[index] ?? ''));
    };

    expect(await defining('.js')).toHaveLength(1);
    expect(await defining('.cjs')).toHaveLength(1);
  });

  test('contains the command in no file of the library', async () => {
    const dist = (await readdir(join(unpacked, 'dist'), { recursive: true })).filter((path) => /\.c?js$/.test(path));
    const texts = await Promise.all(dist.map((path) => readFile(join(unpacked, 'dist', path), 'utf8')));

    const ofCommand = dist.filter((_, index) => /parseArgs|src\/cli\//.test(texts[index] ?? ''));
    expect(ofCommand.sort()).toEqual(['cli/main.js', 'cli/start.js']);
  });

  test('contains the command as an executable file', async () => {
    const { bin } = JSON.parse(await readFile(join(unpacked, 'package.json'), 'utf8')) as { bin: Record<string, string> };
    const file = join(unpacked, bin['etcd-locker'] ?? '');

    expect((await stat(file)).mode & 0o111).toBe(0o111);
    expect(await readFile(file, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });
});

describe.each(nodes)('on Node $version', ({ file }) => {
  const consume = async (...args: string[]): Promise<string> => (await run(file, args, { cwd: folder })).stdout;

  test('works in an ES module', async () => {
    expect(await consume('esm.mjs')).toBe('ok\n');
  });

  test('works in a CommonJS program', async () => {
    expect(await consume('commonjs.cjs')).toBe('ok\n');
  });

  test.each(['import', 'require'])('loads etcd3 only at the first use of etcd, by %s', async (how) => {
    expect(await consume('lazy.cjs', how)).toBe('ok\n');
  });

  test('the command runs through a link like that of npm', async () => {
    const bin = join(folder, 'node_modules', '.bin');
    await mkdir(bin, { recursive: true });
    await symlink('../etcd-locker/dist/cli/main.js', join(bin, 'etcd-locker')).catch(() => undefined); // the test on another Node has created it
    // The file is executed itself, so its first line must find this Node on PATH.
    const env = { PATH: [dirname(file), process.env['PATH']].join(delimiter) };
    const { stdout } = await run(join(bin, 'etcd-locker'), ['--version'], { cwd: folder, env });

    expect(stdout).toBe(`${manifest.version}\n`);
    // The library checks this option, so the command contains it.
    await expect(run(join(bin, 'etcd-locker'), ['--ttl', '1s', 'x', '--', 'true'], { cwd: folder, env })).rejects.toMatchObject({
      code: 64,
      stderr: expect.stringContaining('--ttl: expected at least 2000 ms') as string,
    });
  });
});

describe('its types', () => {
  test.each(['mts', 'cts'])('compile in a strict .%s file without skipLibCheck', async (ending) => {
    const source = `types.${ending}`;
    await cp(join(folder, 'types.ts'), join(folder, source));
    const config = `tsconfig.${ending}.json`;
    const compilerOptions = {
      ...{ module: 'nodenext', target: 'es2022', lib: ['es2022', 'esnext.disposable'], types: ['node'], noEmit: true },
      ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false },
    };
    await writeFile(join(folder, config), JSON.stringify({ compilerOptions, files: [source] }));
    const { stdout } = await run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', config], {
      cwd: folder,
    }).catch((error: unknown) => error as { stdout: string });

    expect(stdout).toBe('');
  });
});
