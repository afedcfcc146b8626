/**
 * Bugs that other lock libraries had, and some that kinds of locks and kept locks invite, to be planted one after another: does the simulation find them?
 *
 * Each is a change to the text of one file, made on a scratch copy. Where the text has changed meanwhile the planting fails, loudly.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Planted {
  readonly name: string;
  readonly what: string;
  /** So many seeds find it in 19 cases of 20, as docs/simulation.md has it. */
  readonly foundWithin: number;
  /** Where a test begins to look for a rare find. Default: 1. */
  readonly from?: number;
  /** Of those that it may break, as docs/simulation.md has them. */
  readonly rules: readonly string[];
  readonly edits: readonly { readonly file: string; readonly from: string; readonly to: string }[];
}

export const planted: readonly Planted[] = [
  {
    name: 'deadline-from-answer',
    what: 'the deadline counts from the response, not from the sending',
    foundWithin: 1000,
    rules: ['exclusion'],
    edits: [
      {
        file: 'src/session/session.ts',
        from: 'this.#grantedMs = (await store.grant(this.leaseId, this.ttlSeconds)) * 1000;',
        to: 'this.#grantedMs = (await store.grant(this.leaseId, this.ttlSeconds)) * 1000; const answeredAt = clock.now();',
      },
      {
        file: 'src/session/session.ts',
        from: "this.#state = { kind: 'open', deadline: addMs(sentAt, this.#ttlMs - this.marginMs) };",
        to: "this.#state = { kind: 'open', deadline: addMs(answeredAt, this.#ttlMs - this.marginMs) };",
      },
      {
        file: 'src/session/heartbeat.ts',
        from: 'if (!session.onRenewal(sentAt, knownGate, renewal)) return false;',
        to: 'if (!session.onRenewal(clock.now(), knownGate, renewal)) return false;',
      },
    ],
  },
  {
    name: 'unguarded-release',
    what: 'the release deletes the key without a comparison of its create revision',
    foundWithin: 210,
    rules: ['exclusion', 'token'],
    edits: [
      {
        file: 'src/entry/transactions.ts',
        from: "compare: [isAt(entry.key, 'create', token)],\n  then: [{ delete: { key: entry.key } }],",
        to: "compare: [{ key: entry.key, target: 'create', op: '<', revision: token << 32n }],\n  then: [{ delete: { key: entry.key } }],",
      },
    ],
  },
  {
    name: 'no-own-entry-check',
    what: 'a waiter does not check that its own entry exists when it wakes',
    foundWithin: 42,
    rules: ['gone'],
    edits: [
      {
        file: 'src/entry/entry.ts',
        from: 'if (!this.#checkOwn(own, this.slots === exclusive) || own === undefined) return;\n    const ahead = found.filter((kv) => byCreateRevision(kv, own) < 0);',
        to: 'const ahead = found.filter((kv) => own === undefined ? kv.key !== this.key : byCreateRevision(kv, own) < 0);',
      },
    ],
  },
  {
    name: 'wrong-predecessor',
    what: 'a waiter keeps its first predecessor after that entry is deleted, although other entries are before it',
    foundWithin: 36,
    rules: ['prompt'],
    edits: [
      {
        file: 'src/entry/predecessors.ts',
        from: 'this.#obstacle = findObstacle(this.#own.queue, this.#own.slots, ahead);\n    this.#isAdmitted = this.#obstacle === undefined;',
        to: 'const found = findObstacle(this.#own.queue, this.#own.slots, ahead);\n    this.#obstacle ??= found;\n    this.#isAdmitted = found === undefined;',
      },
    ],
  },
  {
    name: 'no-gate-move',
    what: 'an enqueue of unknown outcome is settled by a read alone, without a move of the gate',
    foundWithin: 500,
    rules: ['value', 'prompt', 'kind'],
    edits: [{ file: 'src/entry/unknown-outcome.ts', from: 'await entry.session.gate.settle(gate, timeoutMs);', to: 'void gate;' }],
  },
  {
    name: 'no-term-check',
    what: 'a renewal counts without the check that the present leader answered it (in the model of the adapter)',
    foundWithin: 130,
    rules: ['exclusion'],
    edits: [
      {
        file: 'tests/simulation/network.ts',
        from: 'return renewal.ttl > 0 && renewal.term === read.term;',
        to: 'return renewal.ttl > 0 && read.term > 0;',
      },
    ],
  },
  {
    name: 'value-without-revision',
    what: 'setValue compares the create revision of the entry, but not the mod revision that it read',
    foundWithin: 270,
    rules: ['value'],
    edits: [
      {
        file: 'src/entry/value-writer.ts',
        from: "compare: [{ key, target: 'mod', op: '=', revision: this.#modified }],",
        to: "compare: [{ key, target: 'create', op: '=', revision: this.#entry.token }],",
      },
    ],
  },
  {
    name: 'kind-forgotten',
    what: 'the admission rule counts the entries before an entry, but ignores their kind: a reader joins a writer',
    foundWithin: 10,
    rules: ['exclusion'],
    edits: [
      {
        file: 'src/entry/admission.ts',
        from: 'const others = ahead.filter(({ key }) => slotsOf(queue, key) !== slots);',
        to: 'const others = ahead.filter(() => slots < 1);',
      },
    ],
  },
  {
    name: 'place-of-another-kind',
    what: 'an abandoned entry is passed to the next caller of any kind',
    foundWithin: 520,
    rules: ['kind'],
    edits: [
      {
        file: 'src/queue/local-queue.ts',
        from: 'if (next === undefined || next.options.slots !== acquisition.slots || this.#acquisitions.last !== acquisition) return;',
        to: 'if (next === undefined || this.#acquisitions.last !== acquisition) return;',
      },
    ],
  },
  {
    name: 'writer-overtaken',
    what: 'a reader considers the holders alone, and overtakes a writer that waits',
    foundWithin: 10,
    rules: ['exclusion'],
    edits: [
      {
        file: 'src/entry/admission.ts',
        from: 'const others = ahead.filter(({ key }) => slotsOf(queue, key) !== slots);',
        to: 'const others = splitQueue(queue, ahead).holders.filter(({ key }) => slotsOf(queue, key) !== slots);',
      },
    ],
  },
  {
    name: 'one-too-many',
    what: 'a semaphore admits one holder more than it has slots',
    foundWithin: 12,
    rules: ['exclusion'],
    edits: [
      {
        file: 'src/entry/admission.ts',
        from: 'const enough = own - slots + 1;',
        to: 'const enough = own - slots;',
      },
    ],
  },
  {
    name: 'creations-side-by-side',
    what: 'a creation does not wait for the entries of earlier callers of its process',
    foundWithin: 18,
    rules: ['order'],
    edits: [
      {
        file: 'src/queue/shared-requests.ts',
        from: 'if (acquisition.delaysLater) return undefined;',
        to: '',
      },
    ],
  },
  {
    name: 'one-revision-uncounted',
    what: 'a look of a semaphore leaves out the entries before it that have its own create revision',
    foundWithin: 200,
    rules: ['exclusion'],
    edits: [
      {
        file: 'src/entry/entry.ts',
        from: 'found.filter((kv) => byCreateRevision(kv, own) < 0)',
        to: 'found.filter((kv) => kv.createRevision < own.createRevision)',
      },
    ],
  },
  {
    name: 'names-in-no-order',
    what: 'lockAll takes its names in the given order, so that two calls may wait for each other',
    foundWithin: 51,
    rules: ['unserved'],
    edits: [{ file: 'src/locker/lock-all.ts', from: 'of [...names].sort(byKey)) {', to: 'of names) {' }],
  },
  {
    name: 'loss-not-shared',
    what: 'the loss of one lock of lockAll does not end the others',
    foundWithin: 42,
    rules: ['all'],
    edits: [
      {
        file: 'src/lock/multi-lock.ts',
        from: 'for (const lock of this.#locks) lock.lose(error.reason, error.cause as Error | undefined);',
        to: '',
      },
    ],
  },
  {
    name: 'release-too-early',
    what: 'a release resolves when its session ends, although the lease and its entry may still exist',
    foundWithin: 63,
    rules: ['release'],
    edits: [
      {
        file: 'src/entry/release.ts',
        from: 'void session.whenEntriesGone().then(() => {',
        to: 'void session; void Promise.resolve().then(() => {',
      },
    ],
  },
  {
    name: 'sealed-by-full-disk',
    what: 'a write that etcd refuses for lack of space seals its session',
    foundWithin: 3000,
    from: 1_900,
    rules: ['place', 'error', 'prompt'],
    edits: [
      {
        file: 'src/session/session.ts',
        from: '|| (error instanceof EtcdRefusedError && !error.isFinal);',
        to: '&& !(error instanceof EtcdRefusedError && !error.isFinal);',
      },
      {
        file: 'src/entry/unknown-outcome.ts',
        from: 'if (!isRefused) await entry.session.gate.settle(gate, timeoutMs);',
        to: 'await entry.session.gate.settle(gate, timeoutMs); void isRefused;',
      },
    ],
  },
  {
    name: 'strays-kept',
    what: 'the audit deletes no entry that a restore has brought back',
    foundWithin: 300,
    rules: ['prompt', 'ghost', 'unserved'],
    edits: [
      {
        file: 'src/session/audit.ts',
        from: 'for (const key of [...keys].filter(isStray)) await this.#deleteStray(key);',
        to: 'void isStray;',
      },
    ],
  },
  {
    name: 'stray-in-use',
    what: 'the audit deletes each key that it does not know, without a look at new entries and without a comparison',
    foundWithin: 93,
    rules: ['exclusion', 'gone', 'place', 'prompt'],
    edits: [
      { file: 'src/session/audit.ts', from: 'if (this.#isRunning) this.#knownKeys.add(key);', to: 'void key;' },
      {
        file: 'src/session/audit.ts',
        from: 'if (found?.leaseId !== leaseId || isInUse || !this.#session.checkOpen()) return;',
        to: 'if (found === undefined) return; void leaseId; void isInUse;',
      },
      {
        file: 'src/session/audit.ts',
        from: 'await store.commit({ compare: [isStray],',
        to: 'void isStray; await store.commit({ compare: [],',
      },
    ],
  },
  {
    name: 'restore-unnoticed',
    what: 'a gate that went back in time does not end the session',
    foundWithin: 1000,
    rules: ['spin', 'prompt', 'unserved'],
    edits: [
      {
        file: 'src/session/gate.ts',
        from: 'else if (found.modRevision < known) this.#endSession(restoredText);',
        to: 'else if (found.modRevision < 0n) this.#endSession(restoredText);',
      },
    ],
  },
  {
    name: 'move-without-compare',
    what: 'the put of a minimum hold does not compare the create revision of its entry',
    foundWithin: 600,
    rules: ['minimum'],
    edits: [
      {
        file: 'src/entry/transactions.ts',
        from: "compare: [isAt(key, 'create', token)],\n  then: [{ put: { key, value, leaseId } }],",
        to: "compare: [isAt(key, 'create', token)].slice(1),\n  then: [{ put: { key, value, leaseId } }],",
      },
    ],
  },
  {
    name: 'kept-number-reused',
    what: 'a minimum hold keeps the key, its number is given back, and a creation without a response takes the key for its own',
    foundWithin: 750,
    rules: ['minimum', 'token'],
    edits: [
      { file: 'src/session/entry-numbers.ts', from: 'if (keptMs > 0) {', to: 'if (keptMs < 0) {' },
      {
        file: 'src/entry/unknown-outcome.ts',
        from: 'entry.isKeyForeign = found !== undefined && found.createRevision <= entry.knownToken;',
        to: 'entry.isKeyForeign = false;',
      },
    ],
  },
  {
    name: 'minimum-handed-over',
    what: 'a release before the end of a minimum hold hands the name over to the next caller of its process',
    foundWithin: 36,
    rules: ['minimum'],
    edits: [
      {
        file: 'src/queue/local-queue.ts',
        from: 'entry.minimumHold?.isPending === true ? undefined : this.#callers.first;',
        to: 'this.#callers.first;',
      },
    ],
  },
  {
    name: 'nearest-admits',
    what: 'the deletion of the nearest obstacle admits a waiter, although others are in its way',
    foundWithin: 20,
    rules: ['exclusion'],
    edits: [
      { file: 'src/entry/admission.ts', from: 'enough: 1, isAll: isOnly(ahead) };', to: 'enough: 1, isAll: isOnly(ahead.slice(0, 1)) };' },
    ],
  },
  {
    name: 'old-deletion-admits',
    what: 'a deletion that is older than the look admits a waiter: that of an earlier entry with the same key',
    foundWithin: 85,
    rules: ['exclusion', 'prompt'],
    edits: [
      {
        file: 'src/entry/predecessors.ts',
        from: 'return deletedAt > this.#lookedAt && this.#remaining.delete(key)',
        to: 'return deletedAt > 0n && this.#remaining.delete(key)',
      },
    ],
  },
  {
    name: 'own-entry-unwatched',
    what: 'a deletion admits a waiter before a watch covers its own entry, so that a theft between the look and the watch goes unseen',
    foundWithin: 500,
    rules: ['gone'],
    edits: [
      {
        file: 'src/entry/predecessors.ts',
        from: 'if (mayAdmit && isAll && this.#isViewGood && this.isOwnCovered) this.#admit(true);',
        to: 'if (mayAdmit && isAll && this.#isViewGood) this.#admit(true);',
      },
    ],
  },
  {
    name: 'recall-ignored',
    what: 'a keeper does not give back its entry when another process waits behind it',
    foundWithin: 15,
    rules: ['recall', 'unserved'],
    edits: [
      {
        file: 'src/queue/kept-entry.ts',
        from: 'return this.contenders.isWanted;',
        to: 'return this.contenders.isWanted && this.entry.token === 0n;',
      },
    ],
  },
  {
    name: 'kept-after-deadline',
    what: 'a kept entry is given to the next caller after the deadline of its session',
    foundWithin: 300,
    rules: ['short', 'exclusion', 'signal'],
    edits: [
      {
        file: 'src/queue/kept-entry.ts',
        from: 'return isHeld && session.checkOpen() && !session.isSealed && session.isWellAhead;',
        to: 'return isHeld && session.ttlSeconds > 0;',
      },
    ],
  },
  {
    name: 'kept-without-look',
    what: 'the watch of a kept entry counts as confirmed without a look at what came before it',
    foundWithin: 10,
    rules: ['recall', 'wanted', 'unserved'],
    edits: [
      {
        file: 'src/entry/contender-watch.ts',
        from: 'if (isFirst && revision === this.#entry.token && !this.#countsSlots) {',
        to: 'if (!this.#countsSlots || (isFirst && revision === this.#entry.token)) {',
      },
    ],
  },
  {
    name: 'released-held-again',
    what: 'the handle of a released lock reads as held while the next caller holds the kept entry',
    foundWithin: 10,
    rules: ['stale', 'release', 'signal'],
    edits: [{ file: 'src/lock/hold.ts', from: 'return !this.#isOver && this.entry.isHeld;', to: 'return this.entry.isHeld;' }],
  },
];

const root = fileURLToPath(new URL('../../', import.meta.url));

export interface ScratchCopy extends Disposable {
  /** The simulation on the copy, to be run by node. */
  readonly script: string;
}

/** @throws where the text that is to be changed is not there exactly once */
export function plant({ name, edits }: Planted): ScratchCopy {
  const folder = mkdtempSync(join(tmpdir(), `etcd-locker-${name}-`));
  const remove = (): void => {
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    mkdirSync(join(folder, 'tests'));
    for (const part of ['src', 'tests/simulation', 'tests/support/run/keep-handles.ts', 'package.json'])
      cpSync(join(root, part), join(folder, part), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
    for (const { file, from, to } of edits) {
      const path = join(folder, file);
      const text = readFileSync(path, 'utf8');
      if (text.split(from).length !== 2) throw new Error(`Cannot plant ${name}: ${file} does not hold this once: ${from}`);
      writeFileSync(
        path,
        text.replace(from, () => to),
      );
    }
  } catch (error) {
    remove();
    throw error;
  }
  return { script: join(folder, 'tests/simulation/simulate.ts'), [Symbol.dispose]: remove };
}
