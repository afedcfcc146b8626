/** What the load must never show: holders that exclude each other at one time, tokens that do not rise, memory that grows. */
import type { Hold } from './hold.ts';

/** How much the heap may grow between the first tenth and the end. */
export const mostGrowth = 0.1;

/** A line for each violation. */
export function judgeHolds(holds: readonly Hold[]): string[] {
  const byName = new Map<string, Hold[]>();
  for (const hold of [...holds].sort((a, b) => a.fromMs - b.fromMs)) {
    const of = byName.get(hold.name);
    if (of === undefined) byName.set(hold.name, [hold]);
    else of.push(hold);
  }
  return [...byName.values()].flatMap(judgeName);
}

function judgeName(holds: readonly Hold[]): string[] {
  const violations: string[] = [];
  const highest = new Map<string, Hold>();
  let inside: Hold[] = [];
  for (const hold of holds) {
    inside = inside.filter(({ untilMs }) => untilMs > hold.fromMs);
    const others = inside.filter(({ kind }) => kind !== hold.kind);
    for (const other of others) violations.push(`${tell(hold)} while ${tell(other)} is inside`);
    if (inside.length - others.length >= hold.slots) violations.push(`${tell(hold)} while ${inside.map(tell).join(' and ')} are inside`);
    for (const [kind, before] of highest) {
      // Of one kind several may be let in at once, and hear of it in any order.
      if ((kind !== hold.kind || hold.slots === 1) && before.token >= hold.token) {
        violations.push(`${tell(hold)} after ${tell(before)}, whose token is no smaller`);
      }
    }
    if (hold.token > (highest.get(hold.kind)?.token ?? 0n)) highest.set(hold.kind, hold);
    inside.push(hold);
  }
  return violations;
}

const tell = ({ name, kind, token, fromMs, untilMs }: Hold): string =>
  `${name} ${kind} ${String(token)} [${fromMs.toFixed(3)}, ${untilMs.toFixed(3)}]`;

/** @param heap bytes after a collection: at the end of the first tenth, and at the end */
export function judgeMemory({ early, late }: { readonly early: number; readonly late: number }): string[] {
  if (late <= early * (1 + mostGrowth)) return [];
  return [`the heap grew by ${(100 * (late / early - 1)).toFixed(1)} %, from ${String(early)} to ${String(late)} bytes`];
}
