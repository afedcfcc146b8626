/** Tests of a host: its client is opened at the first call, and closed at the end. */
import { describe, expect, test } from 'vitest';
import { resolveLockerOptions } from '../../src/options/options.ts';
import { Host } from '../../src/store/etcd/host.ts';
import { methods, type openClient, type RawClient } from '../../src/store/etcd/raw-client.ts';

const response = Buffer.from('response');

class Client implements RawClient {
  isClosed = false;
  readonly call = (): Promise<Buffer> => Promise.resolve(response);
  readonly stream = (): Promise<never> => Promise.reject(new Error('the test opens no stream'));
  close(): void {
    this.isClosed = true;
  }
}

const hostWith = (open: typeof openClient): Host =>
  new Host('http://127.0.0.1:2379', resolveLockerOptions({ hosts: '127.0.0.1:2379' }).etcd, 1_000, open);
const call = (host: Host): Promise<Buffer> => host.call(1_000, methods.range, Buffer.alloc(0));

describe('Host', () => {
  test('call() opens a client again if the client could not be opened before', async () => {
    const opened: (() => Promise<RawClient>)[] = [() => Promise.reject(new Error('cannot load')), () => Promise.resolve(new Client())];
    const host = hostWith(() => opened.shift()?.() ?? Promise.reject(new Error('opened twice')));

    await expect(call(host)).rejects.toMatchObject({ name: 'CallFailure', details: 'cannot load' });

    expect(await call(host)).toBe(response);
    expect(await call(host)).toBe(response);
    expect(opened).toEqual([]);
  });

  test('close() closes a client that is still being opened, and refuses calls', async () => {
    const client = new Client();
    const host = hostWith(() => Promise.resolve(client));
    const late = call(host);

    await host.close();

    expect(client.isClosed).toBe(true);
    await expect(late).rejects.toMatchObject({ kind: 'unsent' });
    await expect(call(host)).rejects.toMatchObject({ kind: 'unsent' });
  });
});
