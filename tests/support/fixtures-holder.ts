/** A process of its own that takes a lock, says so, and holds it until it is killed. */
import { createLocker } from '../../src/index.ts';

const { HOSTS = '', PREFIX = '', NAME = '', TTL_MS = '' } = process.env;
const locker = createLocker({ hosts: HOSTS.split(','), prefix: PREFIX, ttlMs: Number(TTL_MS) });
const lock = await locker.lock(NAME);
process.send?.({ key: lock.key, token: String(lock.fencingToken) });
setInterval(() => undefined, 60_000);
