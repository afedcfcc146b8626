/** The packed package: its files, and what an import of it costs. `npm test` builds the package before it runs this file. */
import { execFile } from 'node:child_process';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { anchorsOf, linksOf } from '../support/run/markdown.ts';
import { root, type Unpacked, unpackPackage } from './unpack.ts';

const run = promisify(execFile);
let tarball: Unpacked;
let folder = '';
let unpacked = '';
let packed: readonly string[] = [];

beforeAll(async () => {
  tarball = await unpackPackage();
  ({ folder, path: unpacked, files: packed } = tarball);
});

afterAll(() => tarball.remove());

const read = (path: string): Promise<string> => readFile(join(unpacked, path), 'utf8');

describe('the tarball', () => {
  test('contains the build with types and source maps, the docs, the examples and a few other files', () => {
    const isBuilt = (path: string): boolean =>
      /^dist\/((testing\/)?[\w-]+\.(c?js|c?js\.map|d\.ts|d\.cts)|cli\/(main|start)\.js(\.map)?)$/.test(path);
    const isPage = (path: string): boolean => /^docs\/(?!api\/).*\.(md|svg|png)$/.test(path);
    const isExample = (path: string): boolean => /^examples\/(?!.*node_modules).*\.(ts|mts|cjs|mjs|js|sh|md|json|sql|ya?ml)$/.test(path);
    const others = packed.filter((path) => !isBuilt(path) && !isPage(path) && !isExample(path));

    expect(others.sort()).toEqual(['CHANGELOG.md', 'CONTRIBUTING.md', 'LICENSE', 'README.md', 'dist/zod.LICENSE', 'package.json']);
    expect(packed).toEqual(
      expect.arrayContaining(
        ['index', 'testing/index'].flatMap((entry) => ['js', 'cjs', 'd.ts', 'd.cts'].map((type) => `dist/${entry}.${type}`)),
      ),
    );
  });

  test('contains each page and each example', async () => {
    const inFolder = async (folder: string): Promise<string[]> =>
      (await readdir(join(root, folder), { recursive: true, withFileTypes: true }))
        .filter((file) => file.isFile())
        .map((file) => relative(root, join(file.parentPath, file.name)).replaceAll('\\', '/'));
    // The API reference may have been built here. docs/decisions/026 says why the package does not contain it.
    const files = [...(await inFolder('docs')), ...(await inFolder('examples'))].filter((path) => !path.startsWith('docs/api/'));

    expect(packed.filter((path) => /^(docs|examples)\//.test(path)).sort()).toEqual(files.sort());
  });

  test('stays small', () => {
    expect(tarball.bytes.packed).toBeLessThan(1_200_000);
    expect(tarball.bytes.unpacked).toBeLessThan(5_000_000);
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

  test('needs nothing but etcd3 and grpc-js, and hides no require() from bundlers', async () => {
    const { dependencies } = JSON.parse(await read('package.json')) as { dependencies: Record<string, string> };
    const scripts = packed.filter((path) => /^dist\/(?!cli\/).*\.c?js$/.test(path));
    const texts = await Promise.all(scripts.map(read));

    expect(Object.keys(dependencies).sort()).toEqual(['@grpc/grpc-js', 'etcd3']);
    expect(scripts.filter((_, index) => /createRequire\((?!'')|import\.meta|__require\(|from ["']zod/.test(texts[index] ?? ''))).toEqual(
      [],
    );
  });

  test('has pages whose links lead to files and headings in the tarball', async () => {
    const broken: string[] = [];
    const pages = packed.filter((path) => path.endsWith('.md'));
    for (const page of pages) {
      for (const link of linksOf(await read(page))) {
        const [path = '', anchor] = link.split('#');
        const target = path === '' ? page : join(dirname(page), path);
        if (/^[a-z]+:/.test(link)) continue;
        const isFolder = packed.some((file) => file.startsWith(`${target}/`));
        if (!packed.includes(target) && !isFolder) broken.push(`${page}: ${link}`);
        else if (anchor !== undefined && !anchorsOf(await read(target)).includes(anchor)) broken.push(`${page}: ${link}`);
      }
    }

    expect(pages.length).toBeGreaterThan(20);
    expect(broken).toEqual([]);
  });

  test('has a changelog whose first section is that of its version, with a date', async () => {
    const { version } = JSON.parse(await read('package.json')) as { version: string };
    const [, first] = /^## (.+)$/m.exec(await read('CHANGELOG.md')) ?? [];

    expect(first).toMatch(/^\S+ \(\d{4}-\d\d-\d\d\)$/);
    expect(first?.split(' ')[0]).toBe(version);
    expect(await read('CHANGELOG.md')).not.toMatch(/unreleased/i);
  });

  test('has source maps that contain their sources', async () => {
    const scripts = packed.filter((path) => /^dist\/.*\.c?js$/.test(path));

    for (const script of scripts) {
      expect(await read(script)).toContain(`//# sourceMappingURL=${basename(script)}.map`);
      const map = JSON.parse(await read(`${script}.map`)) as { sources: string[]; sourcesContent: (string | null)[] };
      // A CommonJS file is a source of its own for the lines that the conversion adds.
      const missing = map.sources.filter((source, index) => map.sourcesContent[index] === null && source !== basename(script));
      expect(missing).toEqual([]);
    }
  });
});

describe('an import of the package', () => {
  const loading = (how: string): Promise<string> => run(process.execPath, [how], { cwd: folder }).then(({ stdout }) => stdout);

  test.each([
    ['import.mjs', "import 'etcd-locker';"],
    ['import.cjs', "require('etcd-locker');"],
  ])('loads neither node:crypto nor the clients of etcd (%s)', async (file, statement) => {
    await writeFile(join(folder, file), `${statement}\nconsole.log(process.moduleLoadList.join());`);
    await writeFile(join(folder, `empty-${file}`), 'console.log(process.moduleLoadList.join());');
    const [loaded, before] = [await loading(file), await loading(`empty-${file}`)].map((list) => list.trim().split(','));
    const added = (loaded ?? []).filter((name) => !before?.includes(name));

    expect(added.filter((name) => / (crypto|net|tls|http2|dns)$/.test(name))).toEqual([]);
  });

  test('takes little time', async () => {
    await writeFile(join(folder, 'empty.mjs'), '');
    await writeFile(join(folder, 'import.mjs'), "import 'etcd-locker';");
    const best: Record<string, number> = { 'empty.mjs': Infinity, 'import.mjs': Infinity };
    // The best of some rounds, in turns, because other work on the machine only adds time.
    for (let round = 0; round < 9; round++) {
      for (const file of Object.keys(best)) {
        const from = performance.now();
        await loading(file);
        best[file] = Math.min(best[file] ?? 0, performance.now() - from);
      }
    }

    // 10 ms on a quiet machine. Loading etcd3 takes 100 ms.
    expect((best['import.mjs'] ?? 0) - (best['empty.mjs'] ?? 0)).toBeLessThan(50);
  });
});
