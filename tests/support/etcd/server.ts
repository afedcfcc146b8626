/** Starts servers and clusters for tests and the demo: on free ports, in a new folder that stop() deletes. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Identity } from '../fixtures/certificates.ts';
import { supportsNoFsync } from './binary.ts';
import { startContainer } from './docker.ts';
import { ask, memberStatus, waitUntilHealthy } from './http.ts';
import { EtcdMember, PortTakenError } from './member.ts';
import { describeEtcd, findEtcd, type EtcdSource } from './source.ts';
import { forgetFolder, rememberFolder } from '../run/leftovers.ts';
import { freePorts } from '../network/ports.ts';
import { startTcpProxy, type TcpProxy } from '../network/tcp-proxy.ts';

export interface EtcdOptions {
  /** @default what findEtcd() finds */
  readonly source?: EtcdSource;
  /** More flags for etcd. */
  readonly args?: readonly string[];
  /** @default false, because the data is deleted after the test */
  readonly fsync?: boolean;
  /** @default 100, the default of etcd */
  readonly heartbeatMs?: number;
  /** The shortest lease is 1.5 times this. @default 1_000, the default of etcd */
  readonly electionMs?: number;
  /** Certificates for TLS with clients. Only for servers that run as child processes. */
  readonly tls?: ServerTls;
}

export interface ServerTls {
  readonly server: Identity;
  /** Requires client certificates of `authority`. `client` is such a certificate. */
  readonly mutual?: { readonly authority: Buffer; readonly client: Identity };
}

export interface EtcdClusterOptions extends EtcdOptions {
  /** Connects the members through proxies, for isolate(). @default false */
  readonly isolable?: boolean;
}

export interface EtcdServerOptions extends EtcdOptions {
  /** The port for clients. @default a free port */
  readonly port?: number;
}

export interface EtcdServer extends AsyncDisposable {
  /** 'host:port' of the first member. */
  readonly endpoint: string;
  readonly endpoints: readonly string[];
  readonly version: string;
  /** One line for people: the version and the origin of this etcd. */
  readonly source: string;
  /** Empty if the server is not a child process. */
  readonly members: readonly EtcdMember[];
  /** Returns the metrics of the first member, in the text format of Prometheus. */
  metrics(): Promise<string>;
  stop(): Promise<void>;
}

export interface EtcdCluster extends EtcdServer {
  /** Returns the leader, and waits for an election if there is none. Ignores frozen members. */
  leader(): Promise<EtcdMember>;
  /** Cuts a member off from the other members, but not from clients. Needs `isolable`. */
  isolate(member: EtcdMember): Promise<void>;
  /** Ends isolate(). */
  rejoin(): void;
}

type BinarySource = Extract<EtcdSource, { kind: 'binary' }>;

/** Starts a server of one member. With ETCD_ENDPOINTS, returns that server, which stop() does not end. */
export async function startEtcd(options: EtcdServerOptions = {}): Promise<EtcdServer> {
  const source = options.source ?? (await findEtcd());
  if (source.kind === 'binary') return startMembers(source, 1, options);
  for (const name of ['args', 'port', 'heartbeatMs', 'electionMs', 'tls'] as const) {
    if (options[name] !== undefined) throw new Error(`Cannot start etcd with ${name}: ${describeEtcd(source)} is not a child process`);
  }
  if (source.kind === 'endpoints') {
    await Promise.all(source.endpoints.map((endpoint) => waitUntilHealthy(endpoint)));
    return serverAt(source, source.endpoints, () => Promise.resolve());
  }
  const container = await startContainer(source.image);
  return serverAt(source, [container.endpoint], container.stop);
}

/**
 * Starts a cluster.
 *
 * @throws {Error} if there is no etcd binary, see canControlServers()
 */
export async function startCluster(size = 3, options: EtcdClusterOptions = {}): Promise<EtcdCluster> {
  const source = options.source ?? (await findEtcd());
  if (source.kind !== 'binary') {
    throw new Error(`Cannot start a cluster of ${String(size)}: ${describeEtcd(source)} is not a binary`);
  }
  return startMembers(source, size, options);
}

async function startMembers(source: BinarySource, size: number, options: EtcdServerOptions & EtcdClusterOptions): Promise<EtcdCluster> {
  const flags = await flagsFor(source, options);
  for (let attempt = 1; ; attempt++) {
    const folder = mkdtempSync(join(tmpdir(), 'etcd-'));
    rememberFolder(folder);
    const { members, peerProxies } = await planMembers({
      etcd: source.etcd,
      size,
      folder,
      flags: [...flags, ...tlsFlags(folder, options.tls)],
      options,
    });
    const stop = async (): Promise<void> => {
      await Promise.all(members.map((member) => member.kill()));
      await Promise.all([...peerProxies.values()].map((peerProxy) => peerProxy.close()));
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
      forgetFolder(folder);
    };
    try {
      await Promise.all(members.map((member) => member.start()));
      return clusterOf(source, members, peerProxies, stop, clientIdentity(options.tls));
    } catch (error) {
      await stop();
      if (!(error instanceof PortTakenError) || options.port !== undefined || attempt === 5) throw error;
    }
  }
}

async function flagsFor(source: BinarySource, options: EtcdServerOptions): Promise<string[]> {
  const { args = [], fsync = false, heartbeatMs, electionMs } = options;
  return [
    ...['--logger', 'zap', '--log-level', 'error'],
    ...(!fsync && (await supportsNoFsync(source.etcd)) ? ['--unsafe-no-fsync'] : []),
    ...(heartbeatMs === undefined ? [] : ['--heartbeat-interval', String(heartbeatMs)]),
    ...(electionMs === undefined ? [] : ['--election-timeout', String(electionMs)]),
    ...args,
  ];
}

interface ClusterPlan {
  readonly etcd: string;
  readonly size: number;
  readonly folder: string;
  readonly flags: readonly string[];
  readonly options: EtcdServerOptions & EtcdClusterOptions;
}

/** The proxy through which the others reach each member. */
type PeerProxies = ReadonlyMap<EtcdMember, TcpProxy>;

async function planMembers({ etcd, size, folder, flags, options }: ClusterPlan): Promise<PlannedMembers> {
  const { port, isolable = false, tls } = options;
  const ports = await freePorts(2 * size);
  const plans = await Promise.all(
    Array.from({ length: size }, async (_, index) => {
      const name = `m${String(index + 1)}`;
      const dataDir = join(folder, name);
      mkdirSync(dataDir);
      const [freePort = 0, peerPort = 0] = ports.slice(2 * index);
      const peerProxy = isolable ? await startTcpProxy(`127.0.0.1:${String(peerPort)}`) : undefined;
      const advertisedPeerPort = peerProxy === undefined ? undefined : portOf(peerProxy.endpoint);
      return { name, dataDir, etcd, clientPort: port ?? freePort, peerPort, advertisedPeerPort, peerProxy };
    }),
  );
  const all = plans
    .map(({ name, peerPort, advertisedPeerPort = peerPort }) => `${name}=http://127.0.0.1:${String(advertisedPeerPort)}`)
    .join(',');
  const args = ['--initial-cluster', all, '--initial-cluster-token', folder, ...flags];
  const peerProxies = new Map<EtcdMember, TcpProxy>();
  const members = plans.map(({ peerProxy, ...plan }) => {
    const member = new EtcdMember({ ...plan, args, tls: clientIdentity(tls) });
    if (peerProxy !== undefined) peerProxies.set(member, peerProxy);
    return member;
  });
  return { members, peerProxies };
}

interface PlannedMembers {
  readonly members: readonly EtcdMember[];
  readonly peerProxies: PeerProxies;
}

const portOf = (endpoint: string): number => Number(endpoint.slice(endpoint.lastIndexOf(':') + 1));

/** Cuts a member off. A member sends its id at the beginning of each connection to another member. */
async function isolate(peerProxies: PeerProxies, isolated: EtcdMember): Promise<void> {
  const own = peerProxies.get(isolated);
  if (own === undefined) throw new Error(`Cannot isolate etcd member ${isolated.name}: its cluster is not isolable`);
  const { memberId } = await memberStatus(isolated.endpoint);
  const from = `x-server-from: ${BigInt(memberId).toString(16)}\r`;
  for (const peerProxy of peerProxies.values()) {
    if (peerProxy === own) peerProxy.hang();
    else peerProxy.hang((opening) => opening.toLowerCase().includes(from));
  }
}

/** Returns the client certificate for requests of the test support. undefined without TLS. */
const clientIdentity = (tls: ServerTls | undefined): Partial<Identity> | undefined => tls && { ...tls.mutual?.client };

/** Writes the certificates to `folder`, and returns the flags for them. */
function tlsFlags(folder: string, tls: ServerTls | undefined): string[] {
  if (tls === undefined) return [];
  const file = (name: string, content: Buffer): string => {
    const path = join(folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  const { server, mutual } = tls;
  return [
    ...['--cert-file', file('server.crt', server.certificate), '--key-file', file('server.key', server.privateKey)],
    ...(mutual === undefined ? [] : ['--client-cert-auth', '--trusted-ca-file', file('clients.crt', mutual.authority)]),
  ];
}

function clusterOf(
  source: BinarySource,
  members: readonly EtcdMember[],
  peerProxies: PeerProxies,
  stop: () => Promise<void>,
  tls: Partial<Identity> | undefined,
): EtcdCluster {
  const endpoints = members.map(({ endpoint }) => endpoint);
  return {
    ...serverAt(source, endpoints, stop, tls),
    members,
    leader: () => findLeader(members),
    isolate: (member) => isolate(peerProxies, member),
    rejoin: () => {
      for (const peerProxy of peerProxies.values()) peerProxy.resume();
    },
  };
}

function serverAt(source: EtcdSource, endpoints: readonly string[], stop: () => Promise<void>, tls?: Partial<Identity>): EtcdServer {
  const [endpoint] = endpoints;
  if (endpoint === undefined) throw new Error('Cannot use etcd: its list of endpoints is empty');
  let stopping: Promise<void> | undefined;
  const stopOnce = (): Promise<void> => (stopping ??= stop());
  return {
    endpoint,
    endpoints,
    version: source.version,
    source: describeEtcd(source),
    members: [],
    metrics: async () => (await ask(endpoint, '/metrics', { timeoutMs: 5_000, tls })).body,
    stop: stopOnce,
    [Symbol.asyncDispose]: stopOnce,
  };
}

/** Finds the leader. A former leader that was woken may still claim to be one, so the highest term wins. */
async function findLeader(members: readonly EtcdMember[]): Promise<EtcdMember> {
  const deadlineAt = performance.now() + 15_000;
  for (;;) {
    const statuses = await Promise.allSettled(
      members.filter(({ isAwake }) => isAwake).map(async (member) => ({ member, ...(await memberStatus(member.endpoint)) })),
    );
    const leaders = statuses
      .flatMap((status) => (status.status === 'fulfilled' ? [status.value] : []))
      .filter(({ memberId, leaderId }) => memberId === leaderId)
      .sort((a, b) => b.term - a.term);
    if (leaders[0] !== undefined) return leaders[0].member;
    if (performance.now() > deadlineAt) throw new Error('Cannot find the leader within 15 s: no member claims to be one');
    await sleep(50);
  }
}
