/** The module of an application that uses the locker. */
import { Module } from '@nestjs/common';
import { LockerModule } from './locker.module.js';
import { OrdersService } from './orders.service.js';

@Module({
  imports: [LockerModule.forRoot({ hosts: process.env['ETCD_ENDPOINTS']?.split(',') })],
  providers: [OrdersService],
})
export class AppModule {}
