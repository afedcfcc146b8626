/**
 * The public names of `etcd-locker`.
 *
 * Start with locker/locker.ts and lock/lock.ts, the two interfaces that callers use. locker/lock-service.ts connects the parts.
 *
 * @module etcd-locker
 */
export type { Locker } from './locker/locker.ts';
export { createLocker } from './locker/create-locker.ts';
export type { Lock } from './lock/lock.ts';
export type { MultiLock } from './lock/multi-lock.ts';
export type {
  Auth,
  BreakOptions,
  CallOptions,
  CloseOptions,
  Credentials,
  KeptLockOptions,
  LeadOptions,
  ListOptions,
  LockerOptions,
  LockOptions,
  MinimumHoldOptions,
  ModeOptions,
  SlotsOptions,
  WatchAllOptions,
  WatchOptions,
} from './options/types.ts';
export type { Logger } from './context.ts';
export type { Mode } from './kind.ts';
export type {
  AcquireMessage,
  AcquireOperation,
  AcquireResult,
  ChannelMessages,
  ChannelName,
  HeldMessage,
  HostChangedMessage,
  LockMessage,
  LostMessage,
  ReleasedMessage,
  RenewalFailedMessage,
  RenewalMessage,
  RenewalRecoveredMessage,
} from './telemetry/messages.ts';
export type { Contender, LockDetails, LockState, LockStateIterator } from './states/state.ts';
export {
  type AnyLockerError,
  ClientLoadError,
  EtcdAuthError,
  EtcdRefusedError,
  EtcdUnavailableError,
  type HostFailure,
  InvalidOptionsError,
  isLockerError,
  LeaseNotFoundError,
  LockerClosedError,
  LockerError,
  type LockerErrorCode,
  LockLostError,
  LockReleasedError,
  LockTimeoutError,
  type LossReason,
  type OptionIssue,
  OutcomeUnknownError,
} from './errors.ts';
export type { Clock, Instant } from './clock.ts';
export type {
  CommitOptions,
  Committed,
  Compare,
  KeyValue,
  Operation,
  Range,
  Renewal,
  Silence,
  Store,
  Transaction,
  WatchEvent,
  WatchListener,
  WatchRequest,
} from './store/store.ts';
