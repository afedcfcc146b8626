/** Judges a load test: finds holders that exclude each other at one time, tokens that do not rise, and memory that grows. */
import type { Hold } from './hold.ts';

/** The fraction by which the heap may grow between the first tenth of the load and its end. */
export const maxGrowth = 0.1;

/** Returns one line for each violation. */
export function judgeHolds(holds: readonly Hold[]): string[] {
  const byName = new Map<string, Hold[]>();
  for (const hold of [...holds].sort((a, b) => a.fromMs - b.fromMs)) {
    const ofName = byName.get(hold.name);
    if (ofName === undefined) byName.set(hold.name, [hold]);
    else ofName.push(hold);
  }
  return [...byName.values()].flatMap(judgeName);
}

function judgeName(holds: readonly Hold[]): string[] {
  const violations: string[] = [];
  const highest = new Map<string, Hold>();
  let current: Hold[] = [];
  for (const hold of holds) {
    current = current.filter(({ untilMs }) => untilMs > hold.fromMs);
    const others = current.filter(({ kind }) => kind !== hold.kind);
    for (const other of others) violations.push(`${describe(hold)} while ${describe(other)} holds`);
    if (current.length - others.length >= hold.slots)
      violations.push(`${describe(hold)} while ${current.map(describe).join(' and ')} hold`);
    for (const [kind, before] of highest) {
      // Holders of one shared kind may learn of their admission in any order.
      if ((kind !== hold.kind || hold.slots === 1) && before.token >= hold.token) {
        violations.push(`${describe(hold)} after ${describe(before)}, which has no lower token`);
      }
    }
    if (hold.token > (highest.get(hold.kind)?.token ?? 0n)) highest.set(hold.kind, hold);
    current.push(hold);
  }
  return violations;
}

const describe = ({ name, kind, token, fromMs, untilMs }: Hold): string =>
  `${name} ${kind} ${String(token)} [${fromMs.toFixed(3)}, ${untilMs.toFixed(3)}]`;

/** Compares the heap sizes in bytes, each after a garbage collection: after the first tenth of the load, and at its end. */
export function judgeMemory({ early, late }: { readonly early: number; readonly late: number }): string[] {
  if (late <= early * (1 + maxGrowth)) return [];
  return [`the heap grew by ${(100 * (late / early - 1)).toFixed(1)} %, from ${String(early)} to ${String(late)} bytes`];
}
