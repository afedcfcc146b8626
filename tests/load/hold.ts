/** One turn of somebody with a lock, as he saw it. */
export interface Hold {
  readonly name: string;
  /** Holds of one name with the same kind may overlap, as many of them as there are slots. */
  readonly kind: string;
  readonly slots: number;
  readonly token: bigint;
  /** From when and until when he was certain of it. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** The machine's monotonic clock: all processes read the same. */
export const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;
