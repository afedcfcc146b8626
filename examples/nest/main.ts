/** Starts the application, and pays an order. SIGTERM in the middle lets the payment end. */
import { setTimeout as sleep } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import { OrdersService } from './orders.service.js';

async function bootstrap(): Promise<void> {
  const app = await NestFactory.createApplicationContext(AppModule);
  app.enableShutdownHooks(); // so that a signal closes the locker
  const charge = async (signal: AbortSignal): Promise<void> => {
    console.log('charges');
    await sleep(1_000, undefined, { signal });
  };
  console.log(await app.get(OrdersService).pay('42', charge));
  await app.close();
}

void bootstrap();
