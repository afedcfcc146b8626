/** Makes calls of lockers with the options in OPTIONS, and prints their outcomes. Buffers are given in base64. */
import { createLocker, isLockerError, type Locker, type LockerOptions } from '../../../src/index.ts';
import { memoryStore } from '../../../src/testing/index.ts';

const options = JSON.parse(process.env['OPTIONS'] ?? '{}', (name, value: unknown) =>
  ['rootCertificate', 'privateKey', 'certChain'].includes(name) ? Buffer.from(String(value), 'base64') : value,
) as LockerOptions;

const calls: Record<string, (locker: Locker) => Promise<unknown>> = {
  lock: (locker) => locker.lock('x'),
  tryLock: (locker) => locker.tryLock('x'),
  lockAll: (locker) => locker.lockAll(['x', 'y']),
  inspect: (locker) => locker.inspect('x'),
  list: async (locker) => {
    for await (const state of locker.list()) return state;
    return undefined;
  },
  watch: async (locker) => {
    for await (const state of locker.watch('x')) return state;
    return undefined;
  },
};

for (const [call, use] of Object.entries(calls)) {
  const locker = createLocker(options);
  const startedAt = performance.now();
  const error: unknown = await use(locker).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  const ms = Math.round(performance.now() - startedAt);
  const [code, message] = isLockerError(error) ? [error.code, error.message] : ['', String(error)];
  const cause = error instanceof Error ? String(error.cause) : undefined;
  process.stdout.write(`${JSON.stringify(error === undefined ? { step: call, ms } : { step: call, code, message, cause, ms })}\n`);
  await locker.close();
}

// The store in memory needs neither etcd3 nor grpc-js.
await createLocker({ store: memoryStore() }).withLock('x', () => undefined);
process.stdout.write(`${JSON.stringify({ step: 'done' })}\n`);
