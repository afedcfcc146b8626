/** The parts of `npm test` and of `npm run test:all`: the tests in each part, and how long they take. */
export interface Part {
  readonly title: string;
  /** The sum over its files, on two idle cores. Two files run at a time, so a run takes about half. */
  readonly seconds: number;
  /** Folders and files, from the root of the repository. */
  readonly paths: readonly string[];
}

export interface Plan {
  readonly command: string;
  readonly minutes: number;
  readonly parts: readonly Part[];
  /** The number of seeds that the simulation runs. */
  readonly seeds: number;
}

const quick: readonly Part[] = [
  { title: 'types', seconds: 12, paths: ['tests/types'] },
  { title: 'unit tests, and checks of the repository', seconds: 3, paths: ['tests/unit', 'tests/repository'] },
  { title: 'behaviour on the memory store', seconds: 5, paths: ['tests/behaviour'] },
  { title: 'contract on the memory store and on etcd', seconds: 65, paths: ['tests/contract'] },
  { title: 'integration with etcd', seconds: 130, paths: ['tests/integration'] },
];

const slow: readonly Part[] = [
  { title: 'security', seconds: 140, paths: ['tests/security'] },
  { title: 'clusters of three', seconds: 85, paths: ['tests/cluster'] },
  { title: 'telemetry', seconds: 25, paths: ['tests/telemetry'] },
  { title: 'the command', seconds: 50, paths: ['tests/cli'] },
  { title: 'one queue with Go peers and etcdctl', seconds: 20, paths: ['tests/interop'] },
  { title: 'code of the pages, examples and demo', seconds: 125, paths: ['tests/examples'] },
  { title: 'the package', seconds: 150, paths: ['tests/package'] },
  { title: 'benchmark and test support', seconds: 35, paths: ['tests/bench', 'tests/support'] },
  { title: 'planted bugs in the simulation', seconds: 25, paths: ['tests/simulation/planted-bugs.test.ts'] },
  { title: 'load, and ticks of a fleet', seconds: 175, paths: ['tests/load'] },
  { title: 'faults', seconds: 180, paths: ['tests/fault'] },
];

const simulation = (seeds: number, seconds: number): Part => ({
  title: `${String(seeds)} seeds of the simulation`,
  seconds,
  paths: ['tests/simulation/simulation.test.ts'],
});

export const plans = {
  quick: { command: 'npm test', minutes: 3, parts: [...quick, simulation(500, 8)], seeds: 500 },
  rest: { command: 'npm run test:rest', minutes: 8, parts: [...slow, simulation(2_000, 30)], seeds: 2_000 },
  all: { command: 'npm run test:all', minutes: 10, parts: [...quick, ...slow, simulation(2_000, 30)], seeds: 2_000 },
} as const satisfies Record<string, Plan>;
