/** Once per test run: finds etcd (and has it fetched, where need be), says which, and starts one that the test files share. */
import type { TestProject } from 'vitest/node';
import { describeEtcd, findEtcd, shareEtcd, startEtcd } from '../etcd/etcd.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** 'host:port' of each member of the shared server. */
    etcdEndpoints: string[];
    etcdVersion: string;
    /** One line for people, and for the CI to assert on. */
    etcdSource: string;
    /** Whether a test can start servers that it may freeze and kill. */
    etcdCanControlServers: boolean;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const source = await findEtcd();
  console.log(describeEtcd(source));
  shareEtcd(source);
  const server = await startEtcd();
  project.provide('etcdEndpoints', [...server.endpoints]);
  project.provide('etcdVersion', server.version);
  project.provide('etcdSource', server.source);
  project.provide('etcdCanControlServers', source.kind === 'binary');
  return () => server.stop();
}
