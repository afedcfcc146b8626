/** Work on many items, with a limit on how many are under way at once. */

/** Calls `task` for each item, for at most `limit` of them at once. Resolves with the results in order; rejects with the first failure. */
export async function mapAtMost<T, R>(limit: number, items: readonly T[], task: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const rest = items.entries();
  const work = async (): Promise<void> => {
    for (const [index, item] of rest) results[index] = await task(item);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, work));
  return results;
}
