/** Adds a learner to a running cluster: a member that follows the log and serves almost no request. */
import { mkdirSync, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../network/ports.ts';
import { forgetFolder, rememberFolder } from '../run/leftovers.ts';
import { ask } from './http.ts';
import { EtcdMember } from './member.ts';
import type { EtcdCluster } from './server.ts';
import { findEtcd } from './source.ts';

export interface Learner extends AsyncDisposable {
  readonly member: EtcdMember;
}

/** Starts the learner, and waits until it is healthy. Its end kills it and removes it from the cluster. */
export async function startLearner(cluster: EtcdCluster): Promise<Learner> {
  const source = await findEtcd();
  if (source.kind !== 'binary') throw new Error('Cannot start a learner: there is no etcd binary');
  const folder = mkdtempSync(join(tmpdir(), 'etcd-'));
  rememberFolder(folder);
  const [clientPort = 0, peerPort = 0] = await freePorts(2);
  const dataDir = join(folder, 'learner');
  mkdirSync(dataDir);
  const peers = [...cluster.members.map(({ name, peerUrl }) => `${name}=${peerUrl}`), `learner=http://127.0.0.1:${String(peerPort)}`];
  const args = ['--initial-cluster', peers.join(','), '--initial-cluster-state', 'existing', '--logger', 'zap', '--log-level', 'error'];
  const member = new EtcdMember({ name: 'learner', etcd: source.etcd, clientPort, peerPort, dataDir, args });
  const id = await addLearner(cluster.endpoint, member.peerUrl);
  const end = async (): Promise<void> => {
    await member.kill();
    await post(cluster.endpoint, '/v3/cluster/member/remove', { ID: id });
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    forgetFolder(folder);
  };
  try {
    await member.start();
  } catch (error) {
    await end();
    throw error;
  }
  return { member, [Symbol.asyncDispose]: end };
}

async function addLearner(endpoint: string, peerUrl: string): Promise<string> {
  const body = await post(endpoint, '/v3/cluster/member/add', { peerURLs: [peerUrl], isLearner: true });
  return (JSON.parse(body) as { member: { ID: string } }).member.ID;
}

async function post(endpoint: string, path: string, message: unknown): Promise<string> {
  const { status, body } = await ask(endpoint, path, { post: message, timeoutMs: 10_000 });
  if (status !== 200) throw new Error(`${endpoint} refused ${path}: ${String(status)} ${body}`);
  return body;
}
