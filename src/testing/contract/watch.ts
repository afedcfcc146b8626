/** The contract of `watch()`: when it is confirmed, and which events it reports. */
import assert from 'node:assert/strict';
import type { WatchEvent } from '../../store/store.ts';
import { put, read, recordWatch, remove, type StoreTest, under, write } from './store-test.ts';

const describe = ({ type, kv: { key, modRevision } }: WatchEvent): string => `${type} ${key.at(-1) ?? ''} ${String(modRevision)}`;

export const watchTests: Readonly<Record<string, StoreTest>> = {
  'watch() reports the revision from which it is confirmed, and then every later put and delete': async (context) => {
    const { store, prefix, until } = context;
    const leaseId = await context.grant();
    const key = `${prefix}a`;
    const { revision: before } = await write(store, put(key, 'before', leaseId));
    const watch = await recordWatch(context, { key });

    const { revision: changed } = await write(store, put(key, 'after', leaseId));
    const { revision: deleted } = await write(store, remove(key));
    await write(store, put(`${key}b`, 'other', leaseId));

    assert.ok((watch.created[0] ?? 0n) >= before);
    await until(() => {
      assert.equal(watch.batches.flat().length, 2);
    });
    const [first, second] = watch.batches.flat();
    assert.deepEqual(first, { type: 'put', kv: { key, value: 'after', createRevision: before, modRevision: changed, leaseId } });
    assert.deepEqual(second && [second.type, second.kv.key, second.kv.value, second.kv.modRevision], ['delete', key, '', deleted]);
    watch.stop();
  },

  'watch() delivers all events of one revision in one call': async (context) => {
    const { store, prefix, until } = context;
    const leaseId = await context.grant();
    await write(store, put(`${prefix}a/1`, '', leaseId));
    const watch = await recordWatch(context, under(`${prefix}a`));

    const { revision } = await write(store, remove(`${prefix}a/1`), put(`${prefix}a/2`, '', leaseId));

    await until(() => {
      assert.equal(watch.batches.length, 1);
    });
    assert.deepEqual(watch.batches[0]?.map(describe).sort(), [`delete 1 ${String(revision)}`, `put 2 ${String(revision)}`]);
    watch.stop();
  },

  'watch() with deletesOnly reports only deletes': async (context) => {
    const { store, prefix, until } = context;
    const leaseId = await context.grant();
    const watch = await recordWatch(context, { ...under(`${prefix}a`), deletesOnly: true });

    await write(store, put(`${prefix}a/1`, '', leaseId));
    const { revision } = await write(store, remove(`${prefix}a/1`), put(`${prefix}a/2`, '', leaseId));

    await until(() => {
      assert.notEqual(watch.batches.length, 0);
    });
    assert.deepEqual(watch.batches.flat().map(describe), [`delete 1 ${String(revision)}`]);
    watch.stop();
  },

  'watch() confirms a key that was deleted since the known revision at a later revision, or reports that deletion': async (context) => {
    const { store, prefix, until } = context;
    const leaseId = await context.grant();
    const request = { key: `${prefix}a`, deletesOnly: true };
    // A store may keep this watch open for the next caller.
    const before = await recordWatch(context, request);
    const { revision: knownRevision } = await write(store, put(request.key, '', leaseId));
    before.stop();

    const { revision: deleted } = await write(store, remove(request.key));
    // Lets the event arrive before the next watch begins.
    await read(store, request);
    const watch = await recordWatch(context, { ...request, knownRevision });

    assert.ok((watch.created[0] ?? 0n) >= knownRevision);
    await until(() => {
      const isReported = watch.batches.flat().some(({ kv }) => kv.modRevision === deleted);
      assert.ok(isReported || (watch.created[0] ?? 0n) >= deleted);
    });
    watch.stop();
    await write(store, put(request.key, '', leaseId));
    const { revision: newer } = await write(store, remove(request.key));
    const next = await recordWatch(context, { ...request, knownRevision: newer });
    assert.ok((next.created[0] ?? 0n) >= newer);
    assert.deepEqual(
      next.batches.flat().filter(({ kv }) => kv.modRevision < newer),
      [],
    );
    next.stop();
  },

  'watch() reports nothing after it was stopped, and other watches continue': async (context) => {
    const { store, prefix, until } = context;
    const leaseId = await context.grant();
    const [stopped, other] = [await recordWatch(context, { key: `${prefix}a` }), await recordWatch(context, { key: `${prefix}a` })];

    stopped.stop();
    stopped.stop();
    await write(store, put(`${prefix}a`, '', leaseId));

    await until(() => {
      assert.equal(other.batches.length, 1);
    });
    assert.deepEqual(stopped.batches, []);
    other.stop();
  },
};
