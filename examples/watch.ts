/** Who is the master, and at which address? The holder's value tells, to everybody who watches. */
import { createLocker } from 'etcd-locker';

const hosts = (process.env['ETCD_ENDPOINTS'] ?? '127.0.0.1:2379').split(',');
// Three lockers stand for three processes.
await using first = createLocker({ hosts, value: 'http://10.0.0.7:8080' });
await using second = createLocker({ hosts, value: 'http://10.0.0.8:8080' });
await using client = createLocker({ hosts });

const master = await first.lock('master');

// What happens meanwhile in the other processes, one thing after each state that the client saw.
const meanwhile = [
  () => master.setValue('http://10.0.0.7:9090'), // it moved to another port
  () => master.release(), // it stepped down
  () => second.lock('master'), // the other one took over
];

for await (const { holders } of client.watch('master')) {
  const [holder] = holders;
  console.log(holder === undefined ? 'there is no master' : `the master is at ${holder.value}`);
  const next = meanwhile.shift();
  if (next === undefined) break; // leaving the loop ends the watch
  await next();
}
