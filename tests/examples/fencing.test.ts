/** Tests the SQL of docs/fencing.md on PostgreSQL and SQLite, as it is written there: a smaller token is refused, also in a race. */
import { DatabaseSync } from 'node:sqlite';
import { Client } from 'pg';
import { beforeAll, describe, expect, test } from 'vitest';
import { startPostgres } from '../support/postgres/postgres.ts';
import { blocksOf } from '../support/run/markdown.ts';

const page = blocksOf('docs/fencing.md');
const codeUnder = (heading: string): string =>
  page
    .filter((block) => block.heading === heading)
    .map(({ code }) => code)
    .join('\n');

/** Returns the text of the page from `start` to the quote that ends it. */
function statement(code: string, start: string): string {
  const [text = ''] = new RegExp(`${start}[^\`";]*`).exec(code) ?? [];
  expect(text).not.toBe('');
  return text.trim();
}

const update = statement(codeUnder('PostgreSQL'), 'UPDATE orders');
const fence = statement(codeUnder('Many rows under one lock'), 'INSERT INTO fences');
const table = statement(codeUnder('Many rows under one lock'), 'CREATE TABLE fences');

describe('in PostgreSQL', () => {
  let postgres: Awaited<ReturnType<typeof startPostgres>>;
  const connect = async (): Promise<Client> => {
    const { PGHOST, PGUSER, PGDATABASE } = postgres.env;
    const client = new Client({ host: PGHOST, user: PGUSER, database: PGDATABASE });
    await client.connect();
    return client;
  };

  beforeAll(async () => {
    postgres = await startPostgres();
    await postgres.query('CREATE TABLE orders (id int PRIMARY KEY, state text)');
    await postgres.query(statement(codeUnder('PostgreSQL'), 'ALTER TABLE'));
    await postgres.query("INSERT INTO orders VALUES (42, 'new')");
    await postgres.query(table);
    return () => postgres[Symbol.asyncDispose]();
  }, 60_000);

  test('the condition of the row refuses a smaller token, and accepts an equal one', async () => {
    const client = await connect();
    const write = async (token: string): Promise<number | null> => (await client.query(update, [token])).rowCount;

    expect(await write('184')).toBe(1);
    expect(await write('184')).toBe(1);
    expect(await write('181')).toBe(0);
    expect(await write('9007199254740993')).toBe(1); // more than a double holds
    expect(await write('9007199254740992')).toBe(0);
    await client.end();
  });

  test('the row in fences makes a zombie wait for the transaction of the new holder, and refuses it', async () => {
    const [holder, zombie] = [await connect(), await connect()];
    await holder.query('BEGIN');
    await zombie.query('BEGIN');
    expect((await holder.query(fence, ['invoices', '184'])).rowCount).toBe(1);

    const late = zombie.query(fence, ['invoices', '181']);
    const first = await Promise.race([late.then(() => 'zombie'), new Promise((resolve) => setTimeout(resolve, 100, 'nothing'))]);
    expect(first).toBe('nothing');
    await holder.query('COMMIT');

    expect((await late).rowCount).toBe(0);
    await zombie.query('ROLLBACK');
    expect(await postgres.query('SELECT token FROM fences')).toEqual([{ token: '184' }]);
    await Promise.all([holder.end(), zombie.end()]);
  });
});

test('the same statement of fences refuses a smaller token in SQLite', () => {
  const database = new DatabaseSync(':memory:');
  database.exec(table);
  const write = (token: bigint): number | bigint =>
    database.prepare(fence.replaceAll('$1', '?').replaceAll('$2', '?')).run('invoices', token).changes;

  expect([write(184n), write(184n), write(181n), write(185n)]).toEqual([1, 1, 0, 1]);
});
