// Loading the package and using another store must not load etcd3, which takes 100 ms. The first use of etcd loads it.
'use strict';
const assert = require('node:assert/strict');

const loaded = () => Object.keys(require.cache).filter((file) => /[\\/](etcd3|grpc-js|protobufjs)[\\/]/.test(file));

async function main(load) {
  const [{ createLocker }, { memoryStore }] = await load();
  const onMemory = createLocker({ store: memoryStore() });
  await (await onMemory.lock('orders/42')).release();
  await onMemory.close();
  const onEtcd = createLocker({ hosts: '127.0.0.1:1', requestTimeoutMs: 300 });
  assert.deepEqual(loaded(), [], 'etcd3 was loaded before its first use');

  await assert.rejects(onEtcd.lock('orders/42'), { code: 'ETCD_UNAVAILABLE' });
  assert.notDeepEqual(loaded(), [], 'etcd3 was used, but is not in the cache');
  await onEtcd.close();
  console.log('ok');
}

main(
  process.argv[2] === 'import'
    ? () => Promise.all([import('etcd-locker'), import('etcd-locker/testing')])
    : () => [require('etcd-locker'), require('etcd-locker/testing')],
);
