/** One way to a real etcd, for the demo, the tests and the examples. */
export { canControlServers, describeEtcd, findEtcd, shareEtcd, type EtcdSource } from './etcd-source.ts';
export { startCluster, startEtcd, type EtcdCluster, type EtcdOptions, type EtcdServer, type EtcdServerOptions } from './etcd-server.ts';
export { type EtcdMember } from './etcd-member.ts';
export { freePorts } from './ports.ts';
export { hungHost, type HungHost } from './hung-host.ts';
export { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';
