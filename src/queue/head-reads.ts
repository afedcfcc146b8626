/**
 * Reads the holder of a name for the errors of callers whose time is up.
 *
 * The value is for a message only, so it must cost next to nothing. The read starts `leadMs` before a caller's time is up, and callers
 * whose time is up together share it. An error waits for a read for `patienceMs` at most, and not at all for one that had its time.
 */
import { keepAlive, waitAtMost } from '../clock.ts';
import type { Context } from '../context.ts';
import { type Deferred, deferred } from '../deferred.ts';
import { exclusive, shared } from '../kind.ts';
import { type Head, readHead } from '../states/state.ts';

/** How long before the end of a caller's time the read starts, in milliseconds. */
export const leadMs = 250;
/** How long an error waits for a read that started late. Callers share a read that is no older. */
const patienceMs = 100;

interface HeadRead {
  readonly startedMs: number;
  /** Until when errors wait for it. */
  readonly dueMs: number;
  readonly ended: Deferred<void>;
  isOver: boolean;
  head: Head | undefined;
}

export class HeadReads {
  readonly #context: Context;
  /** The newest read of each name, oldest first. */
  readonly #reads = new Map<string, HeadRead>();

  constructor(context: Context) {
    this.#context = context;
  }

  /** Starts a read for a caller whose time is up in `inMs`. */
  prepare(name: string, inMs: number): void {
    this.#read(name, patienceMs, inMs);
  }

  /** Returns the head of the queue of `name` for a caller whose time is up. Undefined if etcd does not respond in time. */
  read(name: string): Head | undefined | Promise<Head | undefined> {
    const { clock } = this.#context;
    const read = this.#read(name, leadMs + patienceMs, patienceMs);
    const leftMs = Math.min(patienceMs, read.dueMs - clock.now().monotonicMs);
    if (read.isOver || leftMs <= 0) return read.head;
    return keepAlive(clock, () => waitAtMost(clock, leftMs, read.ended.promise)).then(() => read.head);
  }

  /** Ends all waiting for reads. */
  close(): void {
    for (const { ended } of this.#reads.values()) ended.resolve();
  }

  /** Returns the last read of the name, or starts one if that is older than `maxAgeMs`. Errors wait `waitMs` for a new one. */
  #read(name: string, maxAgeMs: number, waitMs: number): HeadRead {
    const { monotonicMs } = this.#context.clock.now();
    for (const [one, { startedMs }] of this.#reads) {
      if (monotonicMs - startedMs <= leadMs + patienceMs) break;
      this.#reads.delete(one);
    }
    const found = this.#reads.get(name);
    if (found !== undefined && monotonicMs - found.startedMs <= maxAgeMs) return found;
    const read: HeadRead = { startedMs: monotonicMs, dueMs: monotonicMs + waitMs, ended: deferred(), isOver: false, head: undefined };
    this.#reads.delete(name);
    this.#reads.set(name, read);
    void readHead(this.#context, name)
      .then(
        (head) => {
          read.head = head;
        },
        () => undefined,
      )
      .then(() => {
        read.isOver = true;
        read.ended.resolve();
      });
    return read;
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
