/** Finds and starts a real etcd, for the demo, the tests and the examples. */
export { canControlServers, describeEtcd, findEtcd, shareEtcd, type EtcdSource } from './source.ts';
export { startCluster, startEtcd, type EtcdCluster, type EtcdOptions, type EtcdServer, type EtcdServerOptions } from './server.ts';
export { type EtcdMember } from './member.ts';
export { freePorts } from '../network/ports.ts';
export { hungHost, type HungHost } from '../network/hung-host.ts';
export { startTcpProxy, type TcpProxy } from '../network/tcp-proxy.ts';
