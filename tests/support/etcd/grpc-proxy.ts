/** Starts `etcd grpc-proxy` before a server. The proxy combines watches, and gives them ids of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePorts } from '../network/ports.ts';
import { forgetPid, rememberPid } from '../run/leftovers.ts';
import { findEtcd } from './source.ts';

export interface GrpcProxy extends AsyncDisposable {
  readonly endpoint: string;
}

/** Starts the proxy, and waits until it takes connections. Its end kills it. */
export async function startGrpcProxy(server: string): Promise<GrpcProxy> {
  const source = await findEtcd();
  if (source.kind !== 'binary') throw new Error('Cannot start a proxy: there is no etcd binary');
  const [port = 0] = await freePorts(1);
  const endpoint = `127.0.0.1:${String(port)}`;
  const child = spawn(source.etcd, ['grpc-proxy', 'start', '--endpoints', server, '--listen-addr', endpoint], { stdio: 'ignore' });
  const exit = once(child, 'exit');
  const { pid } = child;
  if (pid !== undefined) rememberPid(pid);
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exit;
    if (pid !== undefined) forgetPid(pid);
  };
  try {
    const deadlineAt = performance.now() + 30_000;
    while (!(await takesConnections(port))) {
      if (performance.now() > deadlineAt) throw new Error(`etcd grpc-proxy at ${endpoint} takes no connections`);
      await sleep(20);
    }
  } catch (error) {
    await end();
    throw error;
  }
  return { endpoint, [Symbol.asyncDispose]: end };
}

async function takesConnections(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
