/** `etcd-locker/otel` of the packed package, with its optional peer dependency and without it. */
import { execFile } from 'node:child_process';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Unpacked, unpackPackage } from './unpack.ts';

const run = promisify(execFile);
let unpacked: Unpacked;

const body = `
  const calls = [];
  const span = { setAttribute() {}, setAttributes() {}, setStatus() {}, end() {}, spanContext: () => ({}) };
  const tracerProvider = { getTracer: () => ({ startSpan: (name) => (calls.push(name), span) }) };
  const instrumentation = instrumentLockers({ tracerProvider });
  await createLocker({ store: memoryStore() }).withLock('a', () => undefined);
  await other.createLocker({ store: memoryStore() }).withLock('b', () => undefined);
  instrumentation.stop();
  console.log(calls.join());
`;

beforeAll(async () => {
  unpacked = await unpackPackage(['@opentelemetry/api']);
  await writeFile(
    join(unpacked.folder, 'otel.mjs'),
    `import { createRequire } from 'node:module';
     import { createLocker } from 'etcd-locker';
     import { instrumentLockers } from 'etcd-locker/otel';
     import { memoryStore } from 'etcd-locker/testing';
     const other = createRequire(import.meta.url)('etcd-locker');${body}`,
  );
  await writeFile(
    join(unpacked.folder, 'otel.cjs'),
    `const { createLocker } = require('etcd-locker');
     const { instrumentLockers } = require('etcd-locker/otel');
     const { memoryStore } = require('etcd-locker/testing');
     (async () => { const other = await import('etcd-locker');${body} })();`,
  );
});

afterAll(() => unpacked.remove());

const consume = (...args: string[]) => run(process.execPath, args, { cwd: unpacked.folder });

test.each(['otel.mjs', 'otel.cjs'])('%s observes the lockers of both copies of the package', async (program) => {
  const { stdout } = await consume(program);

  expect(stdout).toBe('etcd_locker lock,etcd_locker hold,etcd_locker lock,etcd_locker hold\n');
});

test('without @opentelemetry/api only etcd-locker/otel cannot be loaded', async () => {
  const peer = join(unpacked.folder, 'node_modules', '@opentelemetry');
  await rename(peer, `${peer}-away`);

  const without = consume(
    '--input-type=module',
    '-e',
    "await import('etcd-locker'); await import('etcd-locker/web-locks'); console.log('ok')",
  );
  expect((await without).stdout).toBe('ok\n');
  await expect(consume('otel.mjs')).rejects.toMatchObject({ stderr: expect.stringContaining("'@opentelemetry/api'") as unknown });
  await rename(`${peer}-away`, peer);
});
