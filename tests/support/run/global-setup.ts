/** Runs once per test run: finds or fetches etcd, prints its version, and starts a server that the test files share. */
import type { TestProject } from 'vitest/node';
import { describeEtcd, findEtcd, shareEtcd, startEtcd } from '../etcd/etcd.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** 'host:port' of each member of the shared server. */
    etcdEndpoints: string[];
    etcdVersion: string;
    /** One line for people: the version and the origin of etcd. */
    etcdSource: string;
    /** Whether tests can start servers that they freeze and kill. */
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
