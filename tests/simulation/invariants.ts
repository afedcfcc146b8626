/** What must be true after every step. */
import { type Call, type Held, isOneOfSeveral } from './calls.ts';
import type { World } from './world.ts';

/** Longer than any chain of messages that ends in a lock where the network is well, shorter than the slow look that would hide a lost one. */
const promptMs = 150;

export function checkStep(world: World, acquired: readonly Call[]): void {
  for (const held of world.judge.live) checkHeld(world, held);
  for (const several of world.judge.several) several.check();
  for (const call of acquired) checkOrder(world, call);
  if (world.isSettled) checkPromptness(world);
}

/** Who is certain to hold is, in etcd, the one that does; hence there are never two. */
function checkHeld({ judge, record, scheduler, scenario, prng }: World, held: Held): void {
  const { lock, call, token } = held;
  const { machine } = call.process;
  if (!machine.isAwake) return;
  const reads = scenario.readsHeld || prng.chance(0.01);
  if (reads && !lock.held) {
    if (held.isLive) judge.violated('signal', `${String(held)} is not held, and its signal has not fired`);
    return;
  }
  // Who never asks hears of it from a timer, and timers come late where a machine has just woken.
  if (!reads && scheduler.nowMs <= machine.settledAtMs) return;
  if (!record.isAdmitted(call.name, token)) {
    if (record.tamperedAt(token) !== undefined) return;
    const { entries } = record.stateAt(call.name, record.revision);
    const isThere = entries.some(({ createRevision }) => createRevision === token);
    judge.violated(
      'exclusion',
      `${String(held)} believes to hold, but ${isThere ? `${entries[0]?.key ?? ''} is before it` : 'it is gone'}`,
    );
    return;
  }
  const value = record.find(call.name, token)?.value ?? '';
  if (!held.values.includes(value, held.confirmed))
    judge.violated('value', `${String(held)} has the value '${value}' in etcd, confirmed was '${held.values[held.confirmed] ?? ''}'`);
}

/** Nobody of one process is served before somebody who came earlier and still waits. */
function checkOrder({ judge, settledMs }: World, call: Call): void {
  if (!call.isInLine) return;
  for (const other of judge.pending) {
    if (other.process !== call.process || other.name !== call.name || !other.isInLine || hasGivenUp(other)) continue;
    // Several of one kind may hold together and hear of it in any order; of another kind one may have been robbed of its place.
    const isComparable = call.slots === other.slots ? call.slots === 1 : other.startedMs >= settledMs;
    if (!isComparable) continue;
    if (other.startedMs < call.startedMs) judge.violated('order', `${call.id} was served before ${other.id}`);
  }
}

function hasGivenUp({ options: { timeoutMs }, process, startedMonotonicMs }: Call): boolean {
  return timeoutMs !== undefined && process.machine.now().monotonicMs - startedMonotonicMs >= timeoutMs - 1;
}

/** Where nothing goes wrong, an entry that is first is held at once, or goes at once. No wake-up depends on polling. */
function checkPromptness({ judge, record, scenario, scheduler, settledMs }: World): void {
  for (const name of scenario.names) {
    const [head] = record.entries(name);
    if (head === undefined) continue;
    const sinceMs = Math.max(settledMs, record.headSinceMs(name), judge.freedMs.get(name) ?? 0);
    if (scheduler.nowMs - sinceMs <= promptMs) continue;
    const isHeld = [...judge.live].some((held) => held.token === head.createRevision);
    // The first of several names are held while the last is waited for.
    const isPart = [...judge.pending].some((call) => isOneOfSeveral(call) && call.name === name && call.value === head.value);
    if (!isHeld && !isPart)
      judge.violated('prompt', `${head.key} '${head.value}' has been first for ${String(promptMs)} ms and nobody holds by it`);
  }
}
