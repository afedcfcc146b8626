/** Detects the terminal of this process. A signal that is typed there goes to a whole process group. */
import { closeSync, openSync, readFileSync } from 'node:fs';

export function hasTerminal(): boolean {
  // Windows has neither process groups nor these signals.
  if (process.platform === 'win32') return true;
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}

/** Returns whether a ^C in the terminal reaches this process group. Only Linux can say; elsewhere returns true, the usual case. */
export function isInForeground(): boolean {
  let stat: string;
  try {
    stat = readFileSync('/proc/self/stat', 'utf8');
  } catch {
    return true;
  }
  // The fields after the process name: state, ppid, pgrp, session, tty_nr, tpgid (the foreground group). The name may contain ')'.
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return group === foreground;
}
