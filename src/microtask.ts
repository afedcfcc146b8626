/** Runs code after the current tick. A promise does it, because test runners replace `queueMicrotask` by one that waits for a test. */
export const runInMicrotask = (task: () => void): void => void Promise.resolve().then(task);
