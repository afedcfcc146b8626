/**
 * The floors of src: imports run downwards only, type imports included, and never in a circle. docs/architecture.md has the picture.
 *
 * A floor may import the floors below it, and its own folder.
 */
const small = [
  'abort',
  'backoff',
  'clock',
  'concurrency',
  'deferred',
  'errors',
  'json',
  'kind',
  'microtask',
  'outage-log',
  'pauses',
  'text',
  'turn',
].map((name) => `^src/${name}\\.ts$`);

/** From the bottom to the top. */
const floors = [
  { name: 'small files', path: small },
  { name: 'telemetry', path: ['^src/telemetry/'] },
  { name: 'the port', path: ['^src/store/store\\.ts$'] },
  { name: 'keys and context', path: ['^src/keys\\.ts$', '^src/context\\.ts$'] },
  { name: 'options', path: ['^src/options/'] },
  { name: 'stores', path: ['^src/store/(etcd|memory)/'] },
  { name: 'session', path: ['^src/session/'] },
  { name: 'entry', path: ['^src/entry/'] },
  { name: 'states', path: ['^src/states/'] },
  { name: 'lock', path: ['^src/lock/'] },
  { name: 'queue', path: ['^src/queue/'] },
  { name: 'locker', path: ['^src/locker/'] },
  { name: 'entry points', path: ['^src/index\\.ts$', '^src/testing/', '^src/web-locks/', '^src/otel/', '^src/cli/'] },
];

const upward = floors.slice(0, -1).map(({ name, path }, index) => ({
  name: `upward from ${name}`,
  severity: 'error',
  from: { path },
  to: { path: floors.slice(index + 1).flatMap((floor) => floor.path) },
}));

export default {
  forbidden: [
    { name: 'cycle', severity: 'error', from: {}, to: { circular: true } },
    ...upward,
    {
      name: 'file on no floor',
      severity: 'error',
      from: { path: '^src/', pathNot: floors.flatMap(({ path }) => path) },
      to: {},
    },
    { name: 'stores side by side', severity: 'error', from: { path: '^src/store/etcd/' }, to: { path: '^src/store/memory/' } },
    {
      name: 'entry points side by side',
      severity: 'error',
      from: { path: '^src/(testing|web-locks|otel|cli)/' },
      to: { path: '^src/(testing|web-locks|otel|cli)/', pathNot: '^src/$1/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.js'], exportsFields: ['exports'], conditionNames: ['import', 'types'] },
  },
};
