/** The time that a new process needs to import the built package, and to get the first response of etcd. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { cacheDir, root } from '../paths.ts';
import { BenchServer } from '../bench-server.ts';
import type { Bench, Workload } from './workload.ts';

const run = promisify(execFile);

export const importWorkload: Workload = {
  name: 'import',
  nodes: 1,
  async run({ sizes, results, etcd }: Bench) {
    await using server = await BenchServer.open(etcd, 1);
    const entry = await buildPackage();
    const overEmpty: number[] = [];
    const imported: number[] = [];
    const firstUse: number[] = [];
    const etcd3: number[] = [];
    for (let child = 0; child < sizes.imports; child += 1) {
      const emptyMs = await wholeTimeOf('');
      overEmpty.push((await wholeTimeOf(`await import('${entry}');`)) - emptyMs);
      imported.push(await timeOf(`await import('${entry}');`));
      firstUse.push(
        await timeOf(
          `const { createLocker } = await import('${entry}');
           const locker = createLocker({ hosts: ${JSON.stringify(server.hosts)} });
           await locker.inspect('nothing');`,
          'await locker.close();',
        ),
      );
      etcd3.push(await timeOf("await import('etcd3');"));
    }
    await server.expectNothingLeft();
    results.imports = { overEmpty, imported, firstUse, etcd3 };
  },
};

/** Builds the package inside the project's folder, so that it finds its dependencies. */
async function buildPackage(): Promise<string> {
  const folder = join(cacheDir, 'package');
  await run(process.execPath, [join(root, 'node_modules', 'tsup', 'dist', 'cli-default.js'), '--no-dts', '--silent', '--out-dir', folder], {
    cwd: root,
  });
  return pathToFileURL(join(folder, 'index.js')).href;
}

/** Returns the time of a new process that runs the code, from its start to its end. */
async function wholeTimeOf(code: string): Promise<number> {
  const startedAt = performance.now();
  await runCode(code);
  return performance.now() - startedAt;
}

/** Runs the code alone in a new process, and returns its time without the start of the process. */
async function timeOf(code: string, afterwards = ''): Promise<number> {
  const script = `const startedAt = performance.now();\n${code}\nconsole.log(performance.now() - startedAt);\n${afterwards}`;
  return Number(await runCode(script));
}

async function runCode(code: string): Promise<string> {
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', code], { cwd: root, timeout: 30_000 });
  return stdout;
}
