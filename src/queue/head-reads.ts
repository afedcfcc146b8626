/**
 * Reads the holder of a name for the errors of callers whose time is up.
 *
 * The value is for a message only, so it must cost next to nothing. All callers of a name whose time is up within `maxAgeMs` share one
 * read. It starts a little before their time is up, and nobody waits for it for longer than `maxAgeMs`.
 */
import { keepAlive, waitAtMost } from '../clock.ts';
import type { Context } from '../context.ts';
import { deferred } from '../deferred.ts';
import { exclusive, shared } from '../kind.ts';
import { type Head, readHead } from '../states/state.ts';

/** How long before the end of a caller's time the read starts, and how long a read is waited for, in milliseconds. */
export const maxAgeMs = 100;

interface HeadRead {
  readonly startedMs: number;
  readonly head: Promise<Head | undefined>;
}

export class HeadReads {
  readonly #context: Context;
  /** The reads of the last `maxAgeMs`, oldest first. */
  readonly #reads = new Map<string, HeadRead>();
  readonly #ends = new Set<() => void>();

  constructor(context: Context) {
    this.#context = context;
  }

  /** Reads the head of the queue of `name`, or joins a read that is young enough. Undefined if etcd does not respond in time. */
  read(name: string): Promise<Head | undefined> {
    const { monotonicMs } = this.#context.clock.now();
    for (const [one, { startedMs }] of this.#reads) {
      if (monotonicMs - startedMs <= maxAgeMs) break;
      this.#reads.delete(one);
    }
    const found = this.#reads.get(name);
    if (found !== undefined) return found.head;
    const head = this.#read(name);
    this.#reads.set(name, { startedMs: monotonicMs, head });
    return head;
  }

  async #read(name: string): Promise<Head | undefined> {
    const { clock } = this.#context;
    const ended = deferred();
    let head: Head | undefined;
    void readHead(this.#context, name)
      .then(
        (found) => {
          head = found;
        },
        () => undefined,
      )
      .then(ended.resolve);
    this.#ends.add(ended.resolve);
    await keepAlive(clock, () => waitAtMost(clock, maxAgeMs, ended.promise));
    this.#ends.delete(ended.resolve);
    return head;
  }

  /** Waits for no read any longer. */
  close(): void {
    for (const end of [...this.#ends]) end();
  }
}

/** Says that callers of a name do not agree on the number of its slots. Readers and writers of one name are no such case. */
export function describeMismatch(head: Head | undefined, slots: number): string | undefined {
  const isMismatch = (other: number): boolean => other !== slots && (isSemaphore(other) || isSemaphore(slots));
  const asked = slots === shared ? "asked for mode 'shared'" : `asked for ${String(slots)}`;
  if (head === undefined) return undefined;
  if (isMismatch(head.slots)) return `held with ${slotsText(head.slots)}, ${asked}`;
  const other = head.queuedSlots.find(isMismatch);
  return other === undefined ? undefined : `another caller waits with ${slotsText(other)}, ${asked}`;
}

const isSemaphore = (slots: number): boolean => slots !== exclusive && slots !== shared;

const slotsText = (slots: number): string => {
  if (slots === shared) return "mode 'shared'";
  return slots === exclusive ? '1 slot' : `${String(slots)} slots`;
};
