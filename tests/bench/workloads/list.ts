/** All workloads, in the order in which they run. */
import { handOverWorkload, watchWorkload } from './delay.ts';
import { importWorkload } from './import.ts';
import { memoryWorkload } from './memory.ts';
import { queueWorkload } from './queue.ts';
import { rateWorkload } from './rate.ts';
import type { Sizes, Workload } from './workload.ts';

export function allWorkloads({ queues }: Sizes): Workload[] {
  return [
    rateWorkload({ name: 'one', title: 'one at a time' }),
    // The cost of a lock for an idle process, whose code is no longer in the caches of the processor.
    rateWorkload({ name: 'paced', title: 'one at a time, each held for 50 ms', holdMs: 50 }),
    ...[16, 64, 256].map((callers) => rateWorkload({ name: `names-${callers}`, title: `${callers} at once, different names`, callers })),
    ...[2, 8, 32].map((processes) =>
      rateWorkload({ name: `hot-${processes}`, title: `one hot name, ${processes} processes`, processes, isHot: true }),
    ),
    ...[2, 8, 32].map((callers) =>
      rateWorkload({
        name: `clients-${callers}`,
        title: `one hot name, ${callers} clients in a process`,
        callers,
        isHot: true,
        ownClients: true,
        without: ['etcd3'],
      }),
    ),
    rateWorkload({ name: 'hot-callers', title: 'one hot name, 32 callers in a process', callers: 32, isHot: true }),
    rateWorkload({
      name: 'readers',
      title: 'one name, 32 readers at once and a writer between',
      callers: 33,
      isHot: true,
      isShared: true,
      without: ['etcd3', 'floor'],
    }),
    rateWorkload({ name: 'try', title: 'tryLock on a held name', operation: 'try' }),
    rateWorkload({ name: 'inspect', title: 'inspect a held name', operation: 'inspect', without: ['etcd3', 'go'] }),
    handOverWorkload('handover', 'release → next waiter holds', 1),
    watchWorkload('watch', 'release → state seen elsewhere', 1),
    ...queues.map((waiters) => queueWorkload(`queue-${waiters}`, waiters)),
    memoryWorkload,
    importWorkload,
    rateWorkload({ name: 'cluster-one', title: 'one at a time, 3 members', nodes: 3 }),
    rateWorkload({ name: 'cluster-names-256', title: '256 at once, different names, 3 members', nodes: 3, callers: 256 }),
    rateWorkload({ name: 'cluster-hot-8', title: 'one hot name, 8 processes, 3 members', nodes: 3, processes: 8, isHot: true }),
    rateWorkload({
      name: 'cluster-hot-callers',
      title: 'one hot name, 32 callers in a process, 3 members',
      nodes: 3,
      callers: 32,
      isHot: true,
    }),
    handOverWorkload('cluster-handover', 'release → next waiter holds, 3 members', 3),
    watchWorkload('cluster-watch', 'release → state seen elsewhere, 3 members', 3),
  ];
}
