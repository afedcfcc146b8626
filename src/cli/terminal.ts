/** The terminal that controls this process, where there is one: what is typed there reaches a whole process group. */
import { closeSync, openSync, readFileSync } from 'node:fs';

export function hasTerminal(): boolean {
  // Windows knows neither process groups nor these signals.
  if (process.platform === 'win32') return true;
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

/** Whether a ^C in the terminal reaches our process group; elsewhere than on Linux one cannot ask, and it is most likely. */
export function isInForeground(): boolean {
  let stat: string;
  try {
    stat = readFileSync('/proc/self/stat', 'utf8');
  } catch {
    return true;
  }
  // After the name, which may hold anything: state, ppid, pgrp, session, tty, and the terminal's foreground group.
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return group === foreground;
}
