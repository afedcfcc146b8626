/** Starts an example in a process of its own, as a user would: with `node`, on the built package. */
import { fileURLToPath } from 'node:url';
import { TestProcess } from './processes.ts';

const folder = new URL('../../../examples/', import.meta.url);

/** @param env what the example reads, such as ETCD_ENDPOINTS */
export function startExample(file: string, args: readonly string[], env: NodeJS.ProcessEnv): TestProcess {
  return new TestProcess(process.execPath, [fileURLToPath(new URL(file, folder)), ...args], { ...process.env, ...env });
}
