/**
 * What this process must not leave behind: servers that it started, and their folders.
 * Servers run in a session of their own (a ^C in the terminal must reach the demo, which may still
 * need its etcd, and not the etcd), so nobody but us ends them.
 */
import { rmSync } from 'node:fs';

const pids = new Set<number>();
const folders = new Set<string>();
let isWatching = false;

export function rememberPid(pid: number): void {
  watchForTheEnd();
  pids.add(pid);
}

export function forgetPid(pid: number): void {
  pids.delete(pid);
}

export function rememberFolder(folder: string): void {
  watchForTheEnd();
  folders.add(folder);
}

export function forgetFolder(folder: string): void {
  folders.delete(folder);
}

function watchForTheEnd(): void {
  if (isWatching) return;
  isWatching = true;
  process.on('exit', clear);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const onSignal = (): void => {
      // Another listener (vitest, the demo) decides when the process ends, and 'exit' follows then.
      if (process.listenerCount(signal) > 1) return;
      clear();
      process.removeListener(signal, onSignal);
      process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}

function clear(): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL'); // ends a frozen one too
    } catch {
      // it was gone already
    }
  }
  for (const folder of folders) {
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    } catch {
      // a server on its way out may still write; the folder is a temporary one
    }
  }
}
