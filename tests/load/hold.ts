/** One hold of a lock, by the clock of its holder. */
export interface Hold {
  readonly name: string;
  /** Holds of one name and kind may overlap, up to the number of slots. */
  readonly kind: string;
  readonly slots: number;
  readonly token: bigint;
  /** The times between which the holder was certain of its lock. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Returns the time of the monotonic clock, which is the same for all processes of a machine. */
export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;
