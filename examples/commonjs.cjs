'use strict';
/** Uses the package from CommonJS, and without `await using`, which older versions of Node do not have. */
const { createLocker, LockTimeoutError } = require('etcd-locker');

const hosts = (process.env.ETCD_ENDPOINTS ?? '127.0.0.1:2379').split(',');

async function main() {
  const locker = createLocker({ hosts, value: 'a CommonJS program' });
  try {
    const lock = await locker.lock('orders/42');
    try {
      console.log(`held: ${lock.held}`);
      await locker.lock('orders/42', { timeoutMs: 100 });
    } catch (error) {
      if (!(error instanceof LockTimeoutError)) throw error;
      console.log(`busy: held by ${error.holder}`);
    } finally {
      await lock.release();
    }
  } finally {
    await locker.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
