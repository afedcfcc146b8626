/**
 * Ends the servers that this process started, and deletes their folders, when the process ends.
 *
 * Servers run in their own process session, so ^C in the terminal does not reach them: the demo still needs etcd after ^C.
 */
import { rmSync } from 'node:fs';

const pids = new Set<number>();
const folders = new Set<string>();
let isHandled = false;

export function rememberPid(pid: number): void {
  handleExit();
  pids.add(pid);
}

export function forgetPid(pid: number): void {
  pids.delete(pid);
}

export function rememberFolder(folder: string): void {
  handleExit();
  folders.add(folder);
}

export function forgetFolder(folder: string): void {
  folders.delete(folder);
}

function handleExit(): void {
  if (isHandled) return;
  isHandled = true;
  process.on('exit', cleanUp);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const onSignal = (): void => {
      // If vitest or the demo also listens, it ends the process, and 'exit' follows.
      if (process.listenerCount(signal) > 1) return;
      cleanUp();
      process.removeListener(signal, onSignal);
      process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}

function cleanUp(): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL'); // also ends a frozen process
    } catch {
      // the process has already ended
    }
  }
  for (const folder of folders) {
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    } catch {
      // a server that is ending may still write to its temporary folder
    }
  }
}
