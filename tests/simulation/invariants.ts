/** The rules that must hold after every step. */
import { type Call, type HeldLock, isPartOfMultiCall } from './calls.ts';
import type { KeyValue } from '../../src/store/store.ts';
import { isMoved } from './minimum-holds.ts';
import type { World } from './world.ts';

/** Longer than any chain of messages to a lock on a healthy network. Shorter than the slow look that would hide a lost wake-up. */
const promptMs = 150;

/** The longest TTL of `etcdctl lock` in a run, and the time that etcd takes to end a lease. */
const foreignTtlMs = 4_500;

/** The time within which a session ends after a refusal that no retry helps. */
const sessionEndMs = 20_000;

export function checkStep(world: World, acquired: readonly Call[]): void {
  // First, because it also looks at what is known without a read of a handle.
  for (const multiCall of world.judge.multiCalls) multiCall.check();
  for (const held of world.judge.live) checkHeld(world, held);
  for (const call of acquired) checkOrder(world, call);
  for (const { name, entry } of world.record.takeCreated()) checkCreation(world, name, entry);
  for (const { name, entry } of world.record.takeAbandoned()) checkPlace(world, name, entry);
  if (!world.isSettled) return;
  checkPromptness(world);
  world.judge.wishes.check();
}

/** A process does not withdraw the entry of a caller that still waits, even if etcd refuses it other requests. */
function checkPlace({ judge, faultSchedule, scheduler }: World, name: string, entry: KeyValue): void {
  const { key, value } = entry;
  // A recall ends a kept entry even while the value of its next caller is written. That caller enqueues behind the others.
  if (judge.kept.isFree(entry)) return;
  for (const call of judge.pending) {
    const isOwner = call.options.value === value && call.name === name && call.usesLocalQueue;
    if (!isOwner || !call.process.isOpen || hasTimedOut(call) || call.signal?.signal.aborted === true) continue;
    // Only the end of a session frees an entry that etcd refuses to delete, so a wrong password ends sessions.
    if (faultSchedule.hadWrongPasswordSince(call.process.machine, scheduler.nowMs - sessionEndMs)) continue;
    judge.violated('place', `${key} of ${call.id} is withdrawn, but the call still waits`);
  }
}

/** A process that reads `held` as true is admitted in etcd at that moment, so two never hold. */
function checkHeld(world: World, held: HeldLock): void {
  const { judge, record, scheduler, scenario, prng } = world;
  const { lock, call, key, token } = held;
  const { machine } = call.process;
  if (!machine.isAwake) return;
  const reads = scenario.readsHeld || prng.chance(0.01);
  if (held.before?.lock.held === true) judge.violated('stale', `${String(held.before)} reads as held again during ${String(held)}`);
  if (reads && !lock.held) {
    if (held.isLive) judge.violated('signal', `${String(held)} is not held, and its signal has not fired`);
    return;
  }
  // A process that does not read `held` learns of a loss by a timer, and timers run late on a machine that has just woken.
  if (!reads && scheduler.nowMs <= machine.timersLateUntilMs) return;
  // A holder learns by a beat that its entry is not in the restored etcd. An older value may be back.
  const isOld = world.wasBlurredAt(held.acquiredMs);
  if (isOld && !world.isSettled) return;
  if (!record.isAdmitted(call.name, key, token)) {
    const endedAt = record.outsiderEndedAt(key, token);
    if (endedAt !== undefined) {
      if (call.process.store.evidence.isReported({ key, createRevision: token }, endedAt))
        judge.violated('exclusion', `${String(held)} reads as held, although the watch on its entry has reported the deletion`);
      return;
    }
    const { entries } = record.stateAt(call.name, record.revision);
    const isThere = entries.some((entry) => entry.key === key && entry.createRevision === token);
    judge.violated(
      'exclusion',
      `${String(held)} reads as held, but ${isThere ? `${entries[0]?.key ?? ''} is before it` : 'its entry is gone'}`,
    );
    return;
  }
  const value = record.find(call.name, key, token)?.value ?? '';
  if (!isOld && !held.values.includes(value, held.confirmedIndex))
    judge.violated(
      'value',
      `${String(held)} has the value '${value}' in etcd, but '${held.values[held.confirmedIndex] ?? ''}' was confirmed`,
    );
}

/** No caller is served while an earlier caller of the same process still waits for the name. */
function checkOrder({ judge, settledMs }: World, call: Call): void {
  if (!call.usesLocalQueue) return;
  for (const other of judge.pending) {
    if (other.process !== call.process || other.name !== call.name || !other.usesLocalQueue || hasTimedOut(other)) continue;
    // Holders of one shared kind may learn of their admission in any order. A caller of another kind may have lost its entry to an outsider.
    const isComparable = call.slots === other.slots ? call.slots === 1 : other.startedMs >= settledMs;
    if (!isComparable) continue;
    if (other.startedMs < call.startedMs) judge.violated('order', `${call.id} was served before ${other.id}`);
  }
}

/** For how long an outage or a freeze may keep the end of an entry from its process. */
const unknownMs = 10_000;

/** No entry of a caller is created while an earlier caller of the same process has had none for the name. */
function checkCreation({ judge, record, etcd }: World, name: string, { value }: KeyValue): void {
  const isNew = !record.hadValue(value);
  record.noteValue(value);
  const isOurs = (call: Call): boolean => call.name === name && call.usesLocalQueue && call.options.value !== undefined;
  const waiting = [...judge.pending].filter(isOurs);
  const call = waiting.find((one) => one.value === value);
  if (!isNew || call === undefined) return;
  // A caller whose time is up has left its entry to the next one, even if its rejection still waits for a read.
  const using = [...[...judge.pending].filter((one) => !hasTimedOut(one)), ...[...judge.live].map((held) => held.call)];
  const owners = new Set(using.map((one) => one.value));
  for (const other of waiting.slice(0, waiting.indexOf(call))) {
    if (other.process !== call.process || record.hadValue(other.value) || hasTimedOut(other) || other.signal?.signal.aborted === true)
      continue;
    // It may have the entry of a caller that gave up, and write its own value later. Or it had such an entry, until the lease or an outsider
    // ended it. In an outage the process may learn of that only after the call has begun.
    const isOfUse = (entry: KeyValue): boolean =>
      entry.value.startsWith(call.process.id) &&
      (entry.value === call.process.id || !owners.has(entry.value)) &&
      record.kindOf(entry.key).slots === other.slots;
    const isEnded = ({ key, createRevision, leaseId }: KeyValue): boolean =>
      !etcd.leaseIds.includes(leaseId) || record.outsiderEndedAt(key, createRevision) !== undefined;
    const mayInherit =
      record.entries(name).some(isOfUse) ||
      record.hasEntriesSince(name, other.startedMs - unknownMs, (entry) => isOfUse(entry) && isEnded(entry));
    if (!mayInherit) judge.violated('order', `the entry of ${call.id} was created before that of ${other.id}`);
  }
}

function hasTimedOut({ options: { timeoutMs }, process, startedMonotonicMs }: Call): boolean {
  return timeoutMs !== undefined && process.machine.now().monotonicMs - startedMonotonicMs >= timeoutMs - 1;
}

/** Without faults, the first entry of a queue is soon held or deleted. So no wake-up depends on polling. */
function checkPromptness({ judge, record, scenario, scheduler, settledMs, faultSchedule }: World): void {
  for (const name of scenario.names) {
    const entries = record.entries(name);
    const [head] = entries;
    if (head === undefined || isMoved(head) || judge.kept.check(name, entries)) continue;
    // A restore gives the lease of another client's key its whole TTL again.
    const isForeign = record.kindOf(head.key).foreign;
    const endsAtMs = isForeign ? (faultSchedule.restoredAtMs ?? 0) + foreignTtlMs : 0;
    const sinceMs = Math.max(settledMs, record.headSinceMs(name), judge.freedAtMs.get(name) ?? 0, endsAtMs);
    if (scheduler.nowMs - sinceMs <= promptMs) continue;
    const isHeld = [...judge.live].some((held) => held.key === head.key && held.token === head.createRevision);
    // lockAll has the first of its names while it waits for the next.
    const isPartOfCall = [...judge.pending].some((call) => isPartOfMultiCall(call) && call.name === name && call.value === head.value);
    if (!isHeld && !isPartOfCall)
      judge.violated('prompt', `${head.key} '${head.value}' has been first for ${String(promptMs)} ms, but no lock is held by it`);
  }
}
