/** Servers of one's own for a test or the demo: on free ports, in a fresh folder, gone afterwards. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Identity } from '../fixtures/certificates.ts';
import { knowsNoFsync } from './binary.ts';
import { startContainer } from './docker.ts';
import { ask, memberStatus, waitUntilHealthy } from './http.ts';
import { EtcdMember, PortTakenError } from './member.ts';
import { describeEtcd, findEtcd, type EtcdSource } from './source.ts';
import { forgetFolder, rememberFolder } from '../run/leftovers.ts';
import { freePorts } from '../network/ports.ts';
import { startTcpProxy, type TcpProxy } from '../network/tcp-proxy.ts';

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

export interface EtcdClusterOptions extends EtcdOptions {
  /** The members reach each other through proxies, so that isolate() can come between them. @default false */
  readonly isolable?: boolean;
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
  /** The other members do not reach it any more, nor it them; clients still reach all. For a cluster that is `isolable`. */
  isolate(member: EtcdMember): Promise<void>;
  /** Ends isolate(). */
  rejoin(): void;
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
export async function startCluster(size = 3, options: EtcdClusterOptions = {}): Promise<EtcdCluster> {
  const source = await findEtcd();
  if (source.kind !== 'binary') {
    throw new Error(`Cannot start a cluster of ${String(size)}: ${describeEtcd(source)} gives no processes of our own`);
  }
  return startMembers(source, size, options);
}

async function startMembers(source: BinarySource, size: number, options: EtcdServerOptions & EtcdClusterOptions): Promise<EtcdCluster> {
  const flags = await flagsFor(source, options);
  for (let attempt = 1; ; attempt++) {
    const folder = mkdtempSync(join(tmpdir(), 'etcd-'));
    rememberFolder(folder);
    const { members, borders } = await planMembers({
      etcd: source.etcd,
      size,
      folder,
      flags: [...flags, ...tlsFlags(folder, options.tls)],
      options,
    });
    const stop = async (): Promise<void> => {
      await Promise.all(members.map((member) => member.kill()));
      await Promise.all([...borders.values()].map((border) => border.close()));
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
      forgetFolder(folder);
    };
    try {
      await Promise.all(members.map((member) => member.start()));
      return ownServer(source, members, borders, stop, asker(options.tls));
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

interface ClusterPlan {
  readonly etcd: string;
  readonly size: number;
  readonly folder: string;
  readonly flags: readonly string[];
  readonly options: EtcdServerOptions & EtcdClusterOptions;
}

/** Through which the others reach a member. */
type Borders = ReadonlyMap<EtcdMember, TcpProxy>;

async function planMembers({ etcd, size, folder, flags, options }: ClusterPlan): Promise<Planned> {
  const { port, isolable = false, tls } = options;
  const ports = await freePorts(2 * size);
  const plans = await Promise.all(
    Array.from({ length: size }, async (_, index) => {
      const name = `m${String(index + 1)}`;
      const dataDir = join(folder, name);
      mkdirSync(dataDir);
      const [freePort = 0, peerPort = 0] = ports.slice(2 * index);
      const border = isolable ? await startTcpProxy(`127.0.0.1:${String(peerPort)}`) : undefined;
      const advertisedPeerPort = border === undefined ? undefined : portOf(border.endpoint);
      return { name, dataDir, etcd, clientPort: port ?? freePort, peerPort, advertisedPeerPort, border };
    }),
  );
  const all = plans
    .map(({ name, peerPort, advertisedPeerPort = peerPort }) => `${name}=http://127.0.0.1:${String(advertisedPeerPort)}`)
    .join(',');
  const args = ['--initial-cluster', all, '--initial-cluster-token', folder, ...flags];
  const borders = new Map<EtcdMember, TcpProxy>();
  const members = plans.map(({ border, ...plan }) => {
    const member = new EtcdMember({ ...plan, args, tls: asker(tls) });
    if (border !== undefined) borders.set(member, border);
    return member;
  });
  return { members, borders };
}

interface Planned {
  readonly members: readonly EtcdMember[];
  readonly borders: Borders;
}

const portOf = (endpoint: string): number => Number(endpoint.slice(endpoint.lastIndexOf(':') + 1));

/** Members say who they are at the beginning of every connection to another. */
async function isolate(borders: Borders, isolated: EtcdMember): Promise<void> {
  const own = borders.get(isolated);
  if (own === undefined) throw new Error(`Cannot isolate etcd member ${isolated.name}: its cluster is not isolable`);
  const { memberId } = await memberStatus(isolated.endpoint);
  const from = `x-server-from: ${BigInt(memberId).toString(16)}\r`;
  for (const border of borders.values()) {
    if (border === own) border.hang();
    else border.hang((opening) => opening.toLowerCase().includes(from));
  }
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
  borders: Borders,
  stop: () => Promise<void>,
  tls: Partial<Identity> | undefined,
): EtcdCluster {
  const endpoints = members.map(({ endpoint }) => endpoint);
  return {
    ...foreignServer(source, endpoints, stop, tls),
    members,
    leader: () => findLeader(members),
    isolate: (member) => isolate(borders, member),
    rejoin: () => {
      for (const border of borders.values()) border.resume();
    },
  };
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
