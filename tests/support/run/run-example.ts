/**
 * `npm run example -- NAME [ARGUMENT...]`: starts an etcd, runs the example against it, and stops the etcd.
 *
 * Examples import the package by its name, like its users, so the package must be built first.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { parse } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startEtcd } from '../etcd/etcd.ts';

const folder = new URL('../../../examples/', import.meta.url);
const files = readdirSync(folder).filter((file) => /\.(ts|cjs|sh)$/.test(file));

async function runExample(file: string, args: readonly string[]): Promise<number> {
  await using etcd = await startEtcd();
  const endpoints = etcd.endpoints.join(',');
  console.error(`${file} on ${etcd.source}, for other terminals: ETCD_ENDPOINTS=${endpoints}`);
  const child = spawn(file.endsWith('.sh') ? 'sh' : process.execPath, [fileURLToPath(new URL(file, folder)), ...args], {
    stdio: 'inherit',
    env: { ...process.env, ETCD_ENDPOINTS: endpoints },
  });
  // With a listener, ^C does not end this process before etcd is stopped. The example gets ^C from the terminal.
  const stop = (): void => {
    child.kill('SIGTERM');
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

const [name, ...args] = process.argv.slice(2);
const file = files.find((one) => parse(one).name === name || one === name);
if (file === undefined) {
  console.error(`Usage: npm run example -- NAME [ARGUMENT...], with one of ${files.map((one) => parse(one).name).join(', ')}`);
  process.exitCode = 2;
} else if (!existsSync(new URL('../dist/index.js', folder))) {
  console.error('Cannot run the example: the package is not built. Run `npm run build` first.');
  process.exitCode = 2;
} else {
  process.exitCode = await runExample(file, args);
}
