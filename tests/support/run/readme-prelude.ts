/**
 * Defines the names that the code of the pages uses: a locker, a held lock, and functions of an application.
 *
 * A block may import a name itself, where the import matters to the reader.
 */
import { createLocker as createLockerHere, isLockerError as isLockerErrorHere, type Lock, type Locker } from 'etcd-locker';

interface Work {
  readonly signal: AbortSignal;
  readonly fencingToken?: bigint;
}

declare global {
  /** The hosts of etcd. */
  var hosts: readonly string[];
  var createLocker: typeof createLockerHere;
  var isLockerError: typeof isLockerErrorHere;
  var locker: Locker;
  /** A lock that is held. */
  var lock: Lock;
  var order: { readonly id: number; readonly total: number };
  var orders: readonly { readonly id: number; readonly total: number }[];
  function save(data: object, options: { readonly fencingToken: bigint; readonly signal: AbortSignal }): Promise<void>;
  function transfer(options: { readonly signal: AbortSignal; readonly fencingTokens: readonly bigint[] }): Promise<void>;
  function writeReport(options: Work): Promise<void>;
  /** Work that takes some milliseconds, and rejects if its signal aborts. */
  function doWork(options: Work): Promise<void>;
  function runMigrations(options: Work): Promise<void>;
  function sql(parts: TemplateStringsArray, ...values: readonly unknown[]): Promise<void>;
}

const work = ({ signal }: Work): Promise<void> =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    }, 5);
    signal.addEventListener('abort', abort, { once: true });
  });

globalThis.hosts = (process.env['ETCD_ENDPOINTS'] ?? '').split(',');
globalThis.createLocker = createLockerHere;
globalThis.isLockerError = isLockerErrorHere;
globalThis.locker = createLockerHere({ hosts, prefix: `prelude-${String(process.pid)}/` });
globalThis.lock = await locker.lock('prelude');
globalThis.order = { id: 42, total: 7 };
globalThis.orders = [order, { id: 43, total: 9 }];
globalThis.save = (_data, { fencingToken, signal }) => (fencingToken > 0n ? work({ signal }) : Promise.reject(new Error('not saved')));
globalThis.transfer = ({ signal, fencingTokens }) =>
  fencingTokens.length === 2 ? work({ signal }) : Promise.reject(new Error('not transferred'));
globalThis.writeReport = work;
globalThis.doWork = work;
globalThis.runMigrations = work;
globalThis.sql = (_parts, ...values) => (values.length > 0 ? Promise.resolve() : Promise.reject(new Error('nothing to write')));

// A block that leaves a resource open does not end by itself, and its test fails.
process.once('beforeExit', () => {
  void lock.release().then(() => locker.close()); // in this order, so that no channel reports a loss
});
