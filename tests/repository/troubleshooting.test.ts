/** Tests that docs/troubleshooting.md has a section for each error code, with the message that the library really gives. */
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import * as errors from '../../src/errors.ts';
import { createLocker } from '../../src/index.ts';
import { memoryStore } from '../../src/testing/index.ts';
import { anchorsOf } from '../support/run/markdown.ts';

const read = (path: string): Promise<string> => readFile(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');
const page = await read('docs/troubleshooting.md');
const source = await read('src/errors.ts');
const codes = new Set([...source.matchAll(/^ {2}(?:override )?readonly code = '([A-Z_]+)'/gm)].map(([, code = '']) => code));

async function invalidName(): Promise<unknown> {
  await using locker = createLocker({ store: memoryStore() });
  return await locker.lock('').catch((error: unknown) => error);
}

const examples = [
  await invalidName(),
  new errors.LockTimeoutError('orders/42', 2_000, 'web-1:4711'),
  new errors.LockLostError('orders/42', 181n, 'expired'),
  new errors.LockReleasedError('orders/42'),
  new errors.LockerClosedError(),
  new errors.EtcdUnavailableError(5_000, [{ host: '10.0.0.1:2379', reason: 'connect ECONNREFUSED 10.0.0.1:2379' }]),
  new errors.TtlTooShortError(2_000, 400),
  new errors.EtcdAuthError('locks/', 'etcdserver: permission denied'),
  new errors.EtcdRefusedError('etcdserver: mvcc: database space exceeded'),
  new errors.ClientLoadError(new Error("ENOENT: no such file or directory, open 'proto/rpc.proto'")),
] as errors.AnyLockerError[];

const sectionOf = (code: string): string => new RegExp(`^### ${code}\n([^]*?)(?=^##)`, 'm').exec(page)?.[1] ?? '';

test('the page has a section for each error code', () => {
  expect(codes.size).toBeGreaterThan(8);
  expect([...codes].filter((code) => sectionOf(code) === '')).toEqual([]);
});

test('each section has a message, a meaning and what to do', () => {
  const incomplete = [...codes].filter((code) => !/```text\n[^]*\*\*Meaning\.\*\*[^]*\*\*What to do\.\*\*/.test(sectionOf(code)));

  expect(incomplete).toEqual([]);
});

test('the sections show the messages of the library', () => {
  expect(examples.filter(({ code, message }) => !sectionOf(code).includes(`\n${message}\n`)).map(({ message }) => message)).toEqual([]);
  expect(new Set(examples.map(({ code }) => code))).toEqual(codes);
});

test('the table lists each code once, and each row leads to its section', () => {
  const [, table = ''] = /^## By error code\n([^]*?)^### /m.exec(page) ?? [];
  const rows = [...table.matchAll(/^\| \[`([A-Z_]+)`\]\(#([a-z_]+)\)/gm)].map(([, code = '', anchor = '']) => ({ code, anchor }));

  expect(rows.map(({ code }) => code).sort()).toEqual([...codes].sort());
  expect(rows.filter(({ anchor }) => !anchorsOf(page).includes(anchor))).toEqual([]);
});

test('the section of LOCK_LOST lists each reason', () => {
  const [, type = ''] = /export type LossReason = ([^;]+);/.exec(source) ?? [];
  const reasons = [...type.matchAll(/'([a-z-]+)'/g)].map(([, reason = '']) => reason);

  expect(reasons.length).toBeGreaterThan(3);
  expect(reasons.filter((reason) => !sectionOf('LOCK_LOST').includes(`| \`${reason}\` |`))).toEqual([]);
});

test('the lines of the logger are those of the source', async () => {
  const files = (await readdir(fileURLToPath(new URL('../../src', import.meta.url)), { recursive: true })).filter((file) =>
    file.endsWith('.ts'),
  );
  const texts = await Promise.all(files.map((file) => read(`src/${file}`)));
  // Values are written as … on the page.
  const plain = texts.map((text) => text.replaceAll(/\$\{[^}]*\}/g, '…').replaceAll(/[`'] \+\s+[`']/g, ''));
  const [, section = ''] = /^## By warning of the logger\n([^]*?)^## /m.exec(page) ?? [];
  const lines = section.split('\n').flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, line = '']) => line));

  expect(lines.length).toBeGreaterThan(12);
  expect(lines.filter((line) => !line.split('…').every((part) => plain.some((text) => text.includes(part.trim()))))).toEqual([]);
});
