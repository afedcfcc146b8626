/** Finds the servers of `--etcd`. */
import { compareVersions, inspectBinary } from '../support/etcd/binary.ts';
import { findEtcd, type EtcdSource } from '../support/etcd/etcd.ts';
import { etcdFromModules } from '../support/etcd/modules.ts';
import { cacheDir } from '../support/etcd/source.ts';

/** The newest version of each line that Go modules can build. */
const newest: Readonly<Record<string, string>> = { '3.5': '3.5.30', '3.6': '3.6.16', '3.7': '3.7.3' };

/** @param wanted '' for the etcd that the tests find, a line, a version, or a file */
export async function findServer(wanted: string): Promise<EtcdSource> {
  const found = await findEtcd();
  const isLine = wanted === '' || newest[wanted] !== undefined;
  if (isLine && found.version.startsWith(wanted)) return found;
  const path = process.env['PATH'];
  if (wanted.includes('/')) return { kind: 'binary', way: 'binary', ...(await inspectBinary(wanted, path)) };
  return { kind: 'binary', way: 'cache', ...(await etcdFromModules({ cacheDir, path, version: newest[wanted] ?? wanted })) };
}

/** Returns the servers without a second one of the same version. */
export function withoutTwins(servers: readonly EtcdSource[]): readonly EtcdSource[] {
  return servers.filter(({ version }, index) => servers.findIndex((other) => compareVersions(other.version, version) === 0) === index);
}
