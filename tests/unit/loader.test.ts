/** Tests of the loader: one load for all callers, and a new one after a failure. */
import { describe, expect, test } from 'vitest';
import { Loader } from '../../src/store/etcd/loader.ts';

/** Returns a load that fails the first time, and then resolves with its number. */
function failingFirst(): () => Promise<number> {
  let loads = 0;
  return async () => {
    loads += 1;
    const number = loads;
    await Promise.resolve();
    if (number === 1) throw new Error('cannot load');
    return number;
  };
}

describe('Loader', () => {
  test('load() starts one load for all callers', async () => {
    let loads = 0;
    const loader = new Loader(() => Promise.resolve((loads += 1)));

    expect(await Promise.all([loader.load(), loader.load()])).toEqual([1, 1]);
    expect(await loader.load()).toBe(1);
  });

  test('load() starts a new load after a failure', async () => {
    const loader = new Loader(failingFirst());

    expect(await Promise.allSettled([loader.load(), loader.load()])).toMatchObject([{ status: 'rejected' }, { status: 'rejected' }]);
    expect(await loader.load()).toBe(2);
    expect(await loader.load()).toBe(2);
  });

  test('load() starts a new load after forget()', async () => {
    let loads = 0;
    const loader = new Loader(() => Promise.resolve((loads += 1)));
    await loader.load();

    loader.forget();

    expect(await loader.load()).toBe(2);
  });

  test('load() keeps its load if an older one fails after forget()', async () => {
    let fail: (error: Error) => void = () => undefined;
    const loads = [new Promise<number>((_, reject) => (fail = reject)), Promise.resolve(2), Promise.resolve(3)];
    const loader = new Loader(() => loads.shift() ?? Promise.reject(new Error('no more')));
    const first = loader.load();

    loader.forget();
    expect(await loader.load()).toBe(2);
    fail(new Error('late'));
    await expect(first).rejects.toThrow('late');

    expect(await loader.load()).toBe(2);
  });
});
