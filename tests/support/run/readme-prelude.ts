/** Defines the names that the code of the README uses: a locker, a lock, and functions of an application. */
import { createLocker, isLockerError as isLockerErrorHere, type Lock, type Locker } from 'etcd-locker';

declare global {
  var locker: Locker;
  var lock: Lock;
  var order: { readonly id: number; readonly total: number };
  var isLockerError: typeof isLockerErrorHere;
  function save(data: object, options: { readonly fencingToken: bigint; readonly signal: AbortSignal }): Promise<void>;
  function transfer(options: { readonly signal: AbortSignal; readonly fencingTokens: readonly bigint[] }): Promise<void>;
  function writeReport(options: { readonly signal: AbortSignal }): Promise<void>;
  function sql(parts: TemplateStringsArray, ...values: readonly unknown[]): Promise<void>;
}

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '').split(',');
const prefix = `readme-${String(process.pid)}/`;

globalThis.locker = createLocker({ hosts, prefix });
globalThis.lock = await locker.lock('prelude');
globalThis.order = { id: 42, total: 7 };
globalThis.isLockerError = isLockerErrorHere;
globalThis.save = (_data, { fencingToken, signal }) =>
  fencingToken > 0n && !signal.aborted ? Promise.resolve() : Promise.reject(new Error('not saved'));
globalThis.transfer = ({ signal, fencingTokens }) =>
  fencingTokens.length === 2 && !signal.aborted ? Promise.resolve() : Promise.reject(new Error('not transferred'));
globalThis.writeReport = ({ signal }) => (signal.aborted ? Promise.reject(new Error('not written')) : Promise.resolve());
globalThis.sql = (_parts, ...values) => (values.length > 0 ? Promise.resolve() : Promise.reject(new Error('nothing to write')));

// A block that leaves a resource open does not end by itself, and its test fails.
process.once('beforeExit', () => void locker.close());
