/** Tests examples/nest in real NestJS applications on a real etcd. Each application stands for one process. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type DynamicModule, Injectable, Module, SetMetadata } from '@nestjs/common';
import { Test, type TestingModule } from '@nestjs/testing';
import { InvalidOptionsError, type Locker, LockerClosedError, LockLostError, LockTimeoutError } from 'etcd-locker';
import { build } from 'esbuild';
import { Etcd3 } from 'etcd3';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { AppModule } from '../../../examples/nest/app.module.ts';
import { currentLock, Locked } from '../../../examples/nest/locked.decorator.ts';
import { LockerModule } from '../../../examples/nest/locker.module.ts';
import { LOCKER } from '../../../examples/nest/locker.token.ts';
import { OrdersService } from '../../../examples/nest/orders.service.ts';
import { TestProcess } from '../../support/run/processes.ts';

const hosts = inject('etcdEndpoints');
const open = new Set<TestingModule>();
let prefix = '';

beforeEach(() => {
  prefix = `nest-${randomUUID()}/`;
});

afterEach(async () => {
  await Promise.all([...open].map((application) => application.close()));
  open.clear();
});

async function start(module?: DynamicModule, service: new () => object = OrdersService): Promise<TestingModule> {
  const imports = [module ?? LockerModule.forRoot({ hosts, prefix, ttlMs: 3_000, drainMs: 5_000 })];
  const application = await Test.createTestingModule({ imports, providers: [service] }).compile();
  open.add(application);
  return application.init();
}

const lockerOf = (application: TestingModule): Locker => application.get<Locker>(LOCKER);
const noCharge = (): Promise<void> => Promise.resolve();

/** A payment that takes until the test ends it. */
function payment(): { readonly charge: (signal: AbortSignal) => Promise<void>; readonly begun: Promise<AbortSignal>; end(): void } {
  const begun = new AbortController();
  const ended = new AbortController();
  let given: AbortSignal | undefined;
  return {
    begun: once(begun.signal, 'abort').then(() => given as AbortSignal),
    charge: async (signal) => {
      given = signal;
      begun.abort();
      await Promise.race([once(ended.signal, 'abort'), once(signal, 'abort')]);
      signal.throwIfAborted();
    },
    end: () => {
      ended.abort();
    },
  };
}

test('a locked method runs once at a time for each name, over all applications', async () => {
  const [one, other] = [(await start()).get(OrdersService), (await start()).get(OrdersService)];
  const [first, second] = [payment(), payment()];
  const paying = one.pay('1', first.charge);
  await first.begun;
  const waiting = other.pay('1', second.charge);

  expect(await other.pay('2', noCharge)).toMatch(/^paid 2 with token \d+$/); // another name
  first.end();
  expect(await paying).toMatch(/^paid 1 with token \d+$/);
  await second.begun;
  second.end();
  expect(await waiting).toMatch(/^paid 1 with token \d+$/);
});

test('the options of @Locked() are those of withLock()', async () => {
  const [one, other] = [(await start()).get(OrdersService), (await start()).get(OrdersService)];
  const first = payment();
  const paying = one.pay('1', first.charge);
  await first.begun;

  await expect(other.pay('1', noCharge)).rejects.toThrow(LockTimeoutError); // timeoutMs: 2_000
  first.end();
  await paying;
  expect(await Promise.all([one.report(), other.report()])).toEqual([1, 0]); // slots: 2
});

test('currentLock() is the lock of the running method: its signal aborts if the lock is lost', async () => {
  const orders = (await start()).get(OrdersService);
  const first = payment();
  const paying = orders.pay('1', first.charge);
  const signal = await first.begun;
  const client = new Etcd3({ hosts });
  await client.delete().prefix(`${prefix}orders%2F1/`);
  client.close();

  await expect(paying).rejects.toThrow(LockLostError);
  expect(signal.reason).toBeInstanceOf(LockLostError);
  expect(orders.paid).toEqual([]);
  expect(() => currentLock()).toThrow('no @Locked() method runs');
});

test('forRootAsync() takes the options from another module', async () => {
  @Injectable()
  class Config {
    readonly locker = { hosts, prefix, value: 'from the configuration' };
  }
  @Module({ providers: [Config], exports: [Config] })
  class ConfigModule {}

  const useFactory = ({ locker }: Config): Config['locker'] => locker;
  const application = await start(LockerModule.forRootAsync({ imports: [ConfigModule], inject: [Config], useFactory }));
  const first = payment();
  const paying = application.get(OrdersService).pay('1', first.charge);
  await first.begun;

  expect(await lockerOf(application).inspect('orders/1')).toMatchObject({ holders: [{ value: 'from the configuration' }] });
  first.end();
  await paying;
});

test('an application with wrong options does not start', async () => {
  await expect(start(LockerModule.forRoot({ hosts, ttlMs: 1 }))).rejects.toThrow(InvalidOptionsError);
});

test('at shutdown the application rejects waiters, lets holders end, and leaves no lock behind', async () => {
  const [one, other] = [await start(), await start()];
  const first = payment();
  const paying = one.get(OrdersService).pay('1', first.charge);
  const signal = await first.begun;
  const waiting = one.get(OrdersService).pay('1', noCharge);
  const closing = one.close();

  await expect(waiting).rejects.toThrow(LockerClosedError);
  expect(signal.aborted).toBe(false);
  expect(await lockerOf(other).inspect('orders/1')).toMatchObject({ held: true });
  first.end();
  expect(await paying).toMatch(/^paid 1/);
  await closing;
  open.delete(one);
  expect(await lockerOf(other).inspect('orders/1')).toMatchObject({ held: false });
});

test('the shutdown ends after drainMs, and the signal of a holder that still runs aborts', async () => {
  const application = await start(LockerModule.forRoot({ hosts, prefix, drainMs: 100 }));
  const first = payment();
  const paying = application.get(OrdersService).pay('1', first.charge);
  const rejected = expect(paying).rejects.toMatchObject({ code: 'LOCK_LOST', reason: 'closed' });
  const signal = await first.begun;
  await application.close();
  open.delete(application);

  expect(signal.reason).toMatchObject({ code: 'LOCK_LOST', reason: 'closed' });
  await rejected;
});

test('@Locked() keeps the metadata of other decorators, above and below it', async () => {
  @Injectable()
  class Jobs {
    @SetMetadata('above', 1)
    @Locked('job')
    @SetMetadata('below', 2)
    async run(): Promise<boolean> {
      await sleep(1);
      return currentLock().held;
    }
  }
  const jobs = (await start(undefined, Jobs)).get(Jobs);

  const method = Object.getOwnPropertyDescriptor(Jobs.prototype, 'run')?.value as object;
  expect(Reflect.getMetadata('above', method)).toBe(1);
  expect(Reflect.getMetadata('below', method)).toBe(2);
  expect(await jobs.run()).toBe(true);
});

test('the module of the example starts with the endpoints of the environment', async () => {
  const application = await Test.createTestingModule({ imports: [AppModule] }).compile();
  open.add(application);

  expect(application.get(OrdersService).paid).toEqual([]);
});

test('at SIGTERM the compiled example lets the holder end', async () => {
  // A folder in the package, so that imports of its name resolve.
  const outfile = fileURLToPath(new URL(`../../../.cache/nest-${String(process.pid)}/main.js`, import.meta.url));
  const main = fileURLToPath(new URL('../../../examples/nest/main.ts', import.meta.url));
  await build({ entryPoints: [main], outfile, bundle: true, platform: 'node', format: 'esm', external: ['etcd-locker', '@nestjs/*'] });
  try {
    await using application = new TestProcess(process.execPath, [outfile], { ...process.env, ETCD_ENDPOINTS: hosts.join(',') });
    await application.reached('charges');
    application.signal('SIGTERM');
    await application.reached(/^paid 42 with token \d+$/);

    expect(await application.ended).toMatchObject({ stderr: '' });
  } finally {
    await rm(dirname(outfile), { recursive: true });
  }
});
