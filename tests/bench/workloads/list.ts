/** All workloads, in the order in which they run. */
import type { RivalName } from '../results.ts';
import { number } from '../tables.ts';
import { handOverWorkload, watchWorkload } from './delay.ts';
import { importWorkload } from './import.ts';
import { memoryWorkload } from './memory.ts';
import { queueWorkload } from './queue.ts';
import { rateWorkload } from './rate.ts';
import { recallWorkload } from './recall.ts';
import type { Sizes, Workload } from './workload.ts';

const ownAndGo: readonly RivalName[] = ['locker', 'before', 'go'];
const withNewGo: readonly RivalName[] = [...ownAndGo, 'go37'];

/** The delays each way, in milliseconds, and the clients of a hot name. */
export const delaysMs = [1, 5];
export const hotClients = [2, 8, 32];

/** The processes of a hot name, with their rivals: a rival of 32 Node processes costs a minute and much memory. */
const hotProcesses: readonly (readonly [number, readonly RivalName[]])[] = [
  [2, ownAndGo],
  [8, ['locker', 'etcd3', 'go']],
  [32, ['locker', 'go']],
];

/** The number of names that are kept and taken in rotation. */
const keptNames = 1_000;

export function allWorkloads({ queues }: Sizes): Workload[] {
  return [
    rateWorkload({ name: 'one', title: 'one at a time', rivals: [...withNewGo, 'etcd3', 'floor'], isMain: true }),
    // The cost of a lock for an idle process, whose code is no longer in the caches of the processor.
    rateWorkload({ name: 'paced', title: 'one at a time, each held for 50 ms', rivals: ['locker', 'go'], holdMs: 50 }),
    ...[16, 256].map((callers) =>
      rateWorkload({
        name: `names-${callers}`,
        title: `${callers} at once, different names`,
        rivals: callers === 256 ? [...withNewGo, 'etcd3', 'floor'] : ownAndGo,
        isMain: callers === 256,
        callers,
      }),
    ),
    rateWorkload({ name: 'kept', title: 'same name again, kept', rivals: ['locker', 'go', 'go37'], isMain: true, kept: 1 }),
    rateWorkload({ name: 'rotation', title: `${number(keptNames)} names in rotation, kept`, rivals: ['locker', 'go'], kept: keptNames }),
    recallWorkload,
    ...hotClients.map((callers) =>
      rateWorkload({
        name: `clients-${callers}`,
        title: `one hot name, ${callers} clients in a process`,
        rivals: callers === 8 ? withNewGo : ownAndGo,
        isMain: callers === 8,
        callers,
        isHot: true,
        ownClients: true,
      }),
    ),
    ...delaysMs.flatMap((delayMs) =>
      hotClients.map((callers) =>
        rateWorkload({
          name: `delay-${delayMs}-${callers}`,
          title: `one hot name, ${callers} clients in a process, ${delayMs} ms each way`,
          rivals: ownAndGo,
          callers,
          isHot: true,
          ownClients: true,
          delayMs,
        }),
      ),
    ),
    ...hotProcesses.map(([processes, rivals]) =>
      rateWorkload({ name: `hot-${processes}`, title: `one hot name, ${processes} processes`, rivals, processes, isHot: true }),
    ),
    rateWorkload({
      name: 'hot-callers',
      title: 'one hot name, 32 callers in a process',
      rivals: [...ownAndGo, 'etcd3', 'floor'],
      callers: 32,
      isHot: true,
    }),
    rateWorkload({
      name: 'readers',
      title: 'one name, 32 readers at once and a writer between',
      rivals: ownAndGo,
      callers: 33,
      isHot: true,
      isShared: true,
    }),
    rateWorkload({ name: 'try', title: 'tryLock on a held name', rivals: ['locker', 'etcd3', 'go', 'floor'], operation: 'try' }),
    handOverWorkload('handover', 'release → next waiter holds', [...ownAndGo, 'etcd3'], 1),
    watchWorkload('watch', 'release → state seen elsewhere', 1),
    ...queues.map((waiters) => queueWorkload(`queue-${waiters}`, waiters)),
    memoryWorkload,
    importWorkload,
    rateWorkload({ name: 'cluster-one', title: 'one at a time, 3 members', rivals: ownAndGo, nodes: 3 }),
    rateWorkload({ name: 'cluster-names-256', title: '256 at once, different names, 3 members', rivals: ownAndGo, nodes: 3, callers: 256 }),
    rateWorkload({
      name: 'cluster-hot-8',
      title: 'one hot name, 8 processes, 3 members',
      rivals: ['locker', 'go'],
      nodes: 3,
      processes: 8,
      isHot: true,
    }),
    handOverWorkload('cluster-handover', 'release → next waiter holds, 3 members', ownAndGo, 3),
  ];
}
