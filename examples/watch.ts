/** Elects a master and publishes its address as the value of the lock. A client watches the address. */
import { createLocker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
// Three lockers stand for three processes.
await using first = createLocker({ hosts, value: 'http://10.0.0.7:8080' });
await using second = createLocker({ hosts, value: 'http://10.0.0.8:8080' });
await using client = createLocker({ hosts });

const master = await first.lock('master');

// One step of the other processes after each state that the client sees.
const steps = [
  () => master.setValue('http://10.0.0.7:9090'), // the master moves to another port
  () => master.release(), // the master steps down
  () => second.lock('master'), // the other process takes over
];

for await (const { holders } of client.watch('master')) {
  const [holder] = holders;
  console.log(holder === undefined ? 'there is no master' : `the master is at ${holder.value}`);
  const next = steps.shift();
  if (next === undefined) break; // leaving the loop ends the watch
  await next();
}
