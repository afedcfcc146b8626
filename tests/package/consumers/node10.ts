// Compiled with moduleResolution node10, which reads typesVersions and not exports.
import { createLocker, type Locker } from 'etcd-locker';
import { memoryStore } from 'etcd-locker/testing';
import { type WebLockManager, webLocks } from 'etcd-locker/web-locks';

const locker: Locker = createLocker({ store: memoryStore() });
export const locks: WebLockManager = webLocks(locker);
