/**
 * Finds the file descriptors that this process inherited, so that COMMAND gets them too: `etcd-locker NAME -- COMMAND 9<file`.
 *
 * At its start, Node marks inherited descriptors as close-on-exec, like its own. So an inherited one is known by what it is:
 * Node's own are pipes with both ends in this process, event queues and sockets. Descriptors that Node leaves unmarked (those
 * above 15 behind a gap) reach COMMAND anyway.
 */
import { fstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** O_CLOEXEC of Linux, which has this value on all processors that Node supports. */
const closeOnExec = 0o2_000_000;

interface Descriptor {
  readonly fd: number;
  /** What is open, for example '/path/of/a/file' or 'pipe:[4711]'. */
  readonly target: string;
}

/** Returns the inherited descriptors from 3 on. Call it first, before this process opens anything. */
export function findInheritedDescriptors(): readonly number[] {
  if (process.platform === 'linux') return findOnLinux();
  // Other systems do not show what a pipe belongs to.
  return listNumbers('/dev/fd').filter((fd) => fd > 2 && isFileOrDevice(fd));
}

function findOnLinux(): readonly number[] {
  const marked = readTargets('/proc/self/fd').filter(({ fd }) => fd > 2 && isMarked(fd));
  // A new descriptor takes the lowest free number. So all numbers below the first one of Node were taken before.
  const firstOwn = marked.find(({ target }) => target === 'anon_inode:[eventpoll]')?.fd ?? 0;
  let ofParent: ReadonlySet<string> | undefined;
  const isOfParent = (target: string): boolean => {
    ofParent ??= new Set(readTargets(`/proc/${String(process.ppid)}/fd`).map((one) => one.target));
    return ofParent.has(target);
  };
  const isInherited = ({ fd, target }: Descriptor): boolean => {
    if (fd < firstOwn || target.startsWith('/')) return true;
    const isPipe = target.startsWith('pipe:');
    if (isPipe && marked.filter((one) => one.target === target).length === 1) return true;
    return (isPipe || target.startsWith('socket:')) && isOfParent(target);
  };
  return marked.filter(isInherited).map(({ fd }) => fd);
}

/** Returns nothing if the folder cannot be read, for example that of a process of another user. */
function listNumbers(folder: string): number[] {
  try {
    return readdirSync(folder)
      .map(Number)
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

function readTargets(folder: string): Descriptor[] {
  return listNumbers(folder).flatMap((fd) => {
    try {
      return [{ fd, target: readlinkSync(`${folder}/${String(fd)}`) }];
    } catch {
      return []; // the descriptor that listed the folder
    }
  });
}

function isMarked(fd: number): boolean {
  try {
    const [, flags = ''] = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${String(fd)}`, 'utf8')) ?? [];
    return (parseInt(flags, 8) & closeOnExec) !== 0;
  } catch {
    return false;
  }
}

function isFileOrDevice(fd: number): boolean {
  try {
    const stats = fstatSync(fd);
    return stats.isFile() || stats.isDirectory() || stats.isCharacterDevice() || stats.isBlockDevice();
  } catch {
    return false;
  }
}
