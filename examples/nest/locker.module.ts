/**
 * A NestJS module with one locker for the application. Needs `npm i @nestjs/common @nestjs/core reflect-metadata rxjs`.
 *
 * Copy this folder into your application. It compiles with the tsconfig of a Nest project, because of `experimentalDecorators`.
 */
import { type BeforeApplicationShutdown, ConfigurableModuleBuilder, Inject, Module } from '@nestjs/common';
import { createLocker, type Locker, type LockerOptions } from 'etcd-locker';
import { LOCKER } from './locker.token.js';

export interface LockerModuleOptions extends LockerOptions {
  /** The time in milliseconds that holders get to end at shutdown. Default: 10 000. */
  readonly drainMs?: number | undefined;
}

/** The builder adds `forRoot(options)` and `forRootAsync({ imports, inject, useFactory })`. */
const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } = new ConfigurableModuleBuilder<LockerModuleOptions>()
  .setClassMethodName('forRoot')
  .setExtras({ isGlobal: true }, (definition, { isGlobal }) => ({ ...definition, global: isGlobal }))
  .build();

const createFrom = ({ drainMs, ...options }: LockerModuleOptions): Locker => createLocker(options);

@Module({
  providers: [{ provide: LOCKER, inject: [MODULE_OPTIONS_TOKEN], useFactory: createFrom }],
  exports: [LOCKER],
})
export class LockerModule extends ConfigurableModuleClass implements BeforeApplicationShutdown {
  constructor(
    @Inject(LOCKER) private readonly locker: Locker,
    @Inject(MODULE_OPTIONS_TOKEN) private readonly options: LockerModuleOptions,
  ) {
    super();
  }

  /** Rejects waiters and lets holders end, while the connections of the application are still open. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.locker.close({ drainMs: this.options.drainMs ?? 10_000 });
  }
}
