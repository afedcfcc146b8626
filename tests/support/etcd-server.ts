/** Servers of one's own for a test or the demo: on free ports, in a fresh folder, gone afterwards. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Identity } from './certificates.ts';
import { knowsNoFsync } from './etcd-binary.ts';
import { startContainer } from './etcd-docker.ts';
import { ask, memberStatus, waitUntilHealthy } from './etcd-http.ts';
import { EtcdMember, PortTakenError } from './etcd-member.ts';
import { describeEtcd, findEtcd, type EtcdSource } from './etcd-source.ts';
import { forgetFolder, rememberFolder } from './leftovers.ts';
import { freePorts } from './ports.ts';

export interface EtcdOptions {
  /** More flags for etcd. */
  readonly args?: readonly string[];
  /** @default false: the data is thrown away anyway */
  readonly fsync?: boolean;
  /** @default 100, as etcd has it */
  readonly heartbeatMs?: number;
  /** etcd lets no lease be shorter than one and a half of it. @default 1_000, as etcd has it */
  readonly electionMs?: number;
  /** With its clients it speaks by TLS; only for servers that are processes of ours. */
  readonly tls?: ServerTls;
}

export interface ServerTls {
  readonly server: Identity;
  /** Clients must have a certificate of this authority; `client` is such a one. */
  readonly mutual?: { readonly authority: Buffer; readonly client: Identity };
}

export interface EtcdServerOptions extends EtcdOptions {
  /** For clients. @default a free one */
  readonly port?: number;
}

export interface EtcdServer extends AsyncDisposable {
  /** 'host:port' of the first member. */
  readonly endpoint: string;
  readonly endpoints: readonly string[];
  readonly version: string;
  /** One line for people: which etcd this is, and where it was found. */
  readonly source: string;
  /** Empty where the server is no process of ours. */
  readonly members: readonly EtcdMember[];
  /** What GET /metrics of the first member tells, in the text format of Prometheus. */
  metrics(): Promise<string>;
  stop(): Promise<void>;
}

export interface EtcdCluster extends EtcdServer {
  /** Waits for one where there is none yet; a frozen member is passed over. */
  leader(): Promise<EtcdMember>;
}

type BinarySource = Extract<EtcdSource, { kind: 'binary' }>;

/** One member. With ETCD_ENDPOINTS it is the server given there, which stop() leaves alone. */
export async function startEtcd(options: EtcdServerOptions = {}): Promise<EtcdServer> {
  const source = await findEtcd();
  if (source.kind === 'binary') return startMembers(source, 1, options);
  for (const name of ['args', 'port', 'heartbeatMs', 'electionMs', 'tls'] as const) {
    if (options[name] !== undefined) throw new Error(`Cannot start etcd with ${name}: ${describeEtcd(source)} is no process of ours`);
  }
  if (source.kind === 'endpoints') {
    await Promise.all(source.endpoints.map((endpoint) => waitUntilHealthy(endpoint)));
    return foreignServer(source, source.endpoints, () => Promise.resolve());
  }
  const container = await startContainer(source.image);
  return foreignServer(source, [container.endpoint], container.stop);
}

/** @throws {Error} where there is no etcd binary, see canControlServers() */
export async function startCluster(size = 3, options: EtcdOptions = {}): Promise<EtcdCluster> {
  const source = await findEtcd();
  if (source.kind !== 'binary') {
    throw new Error(`Cannot start a cluster of ${String(size)}: ${describeEtcd(source)} gives no processes of our own`);
  }
  return startMembers(source, size, options);
}

async function startMembers(source: BinarySource, size: number, options: EtcdServerOptions): Promise<EtcdCluster> {
  const flags = await flagsFor(source, options);
  for (let attempt = 1; ; attempt++) {
    const folder = mkdtempSync(join(tmpdir(), 'etcd-'));
    rememberFolder(folder);
    const members = await planMembers(source.etcd, size, folder, [...flags, ...tlsFlags(folder, options.tls)], options);
    const stop = async (): Promise<void> => {
      await Promise.all(members.map((member) => member.kill()));
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
      forgetFolder(folder);
    };
    try {
      await Promise.all(members.map((member) => member.start()));
      return ownServer(source, members, stop, asker(options.tls));
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
    ...(!fsync && (await knowsNoFsync(source.etcd)) ? ['--unsafe-no-fsync'] : []),
    ...(heartbeatMs === undefined ? [] : ['--heartbeat-interval', String(heartbeatMs)]),
    ...(electionMs === undefined ? [] : ['--election-timeout', String(electionMs)]),
    ...args,
  ];
}

async function planMembers(
  etcd: string,
  size: number,
  folder: string,
  flags: readonly string[],
  { port, tls }: EtcdServerOptions,
): Promise<EtcdMember[]> {
  const ports = await freePorts(2 * size);
  const plans = Array.from({ length: size }, (_, index) => {
    const name = `m${String(index + 1)}`;
    const dataDir = join(folder, name);
    mkdirSync(dataDir);
    const [freePort = 0, peerPort = 0] = ports.slice(2 * index);
    return { name, dataDir, etcd, clientPort: port ?? freePort, peerPort };
  });
  const all = plans.map(({ name, peerPort }) => `${name}=http://127.0.0.1:${String(peerPort)}`).join(',');
  const args = ['--initial-cluster', all, '--initial-cluster-token', folder, ...flags];
  return plans.map((plan) => new EtcdMember({ ...plan, args, tls: asker(tls) }));
}

/** Who the tests' own questions come from; undefined where they are asked plainly. */
const asker = (tls: ServerTls | undefined): Partial<Identity> | undefined => tls && { ...tls.mutual?.client };

/** The files go with the folder. */
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

function ownServer(
  source: BinarySource,
  members: readonly EtcdMember[],
  stop: () => Promise<void>,
  tls: Partial<Identity> | undefined,
): EtcdCluster {
  const endpoints = members.map(({ endpoint }) => endpoint);
  return { ...foreignServer(source, endpoints, stop, tls), members, leader: () => findLeader(members) };
}

function foreignServer(source: EtcdSource, endpoints: readonly string[], stop: () => Promise<void>, tls?: Partial<Identity>): EtcdServer {
  const [endpoint] = endpoints;
  if (endpoint === undefined) throw new Error('Cannot use an etcd without an endpoint');
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

/** A leader that was woken may still take itself for one: of two, the one of the later term counts. */
async function findLeader(members: readonly EtcdMember[]): Promise<EtcdMember> {
  const giveUpAt = performance.now() + 15_000;
  for (;;) {
    const answers = await Promise.allSettled(
      members.filter(({ isAwake }) => isAwake).map(async (member) => ({ member, ...(await memberStatus(member.endpoint)) })),
    );
    const leaders = answers
      .flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
      .filter(({ memberId, leaderId }) => memberId === leaderId)
      .sort((a, b) => b.term - a.term);
    if (leaders[0] !== undefined) return leaders[0].member;
    if (performance.now() > giveUpAt) throw new Error('Cannot find the leader: no member says that it is one');
    await sleep(50);
  }
}
