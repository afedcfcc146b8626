/** Lists that are short and never changed in place, so a reader may keep one while it calls other code. */

export const none: readonly never[] = [];

export const without = <T>(list: readonly T[], item: T): readonly T[] =>
  list.length === 1 && list[0] === item ? none : list.filter((one) => one !== item);
