/** The lock of the cache of etcd versions, between processes of this machine. */
import { mkdir, readlink, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits for the lock of the cache, so that two processes do not download at the same time. Without it, the rename is still atomic.
 *
 * The lock is a symbolic link, because its creation also writes the pid. A link of a dead process, or any link after five minutes,
 * is removed.
 */
export async function lockCache(cacheDir: string): Promise<() => Promise<void>> {
  await mkdir(cacheDir, { recursive: true });
  const lock = join(cacheDir, '.lock');
  const deadlineAt = performance.now() + 300_000;
  for (;;) {
    try {
      await symlink(String(process.pid), lock);
      return () => rm(lock, { force: true });
    } catch (error) {
      const pid = Number(await readlink(lock).catch(() => Number.NaN));
      if (Number.isNaN(pid)) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      } else if (!isRunning(pid) || performance.now() > deadlineAt) {
        await rm(lock, { force: true });
        continue;
      }
      await sleep(200);
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
