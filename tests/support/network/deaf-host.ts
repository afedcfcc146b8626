/** A port whose connections never get beyond their first packet, as at a host that is down. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../fixtures/etcd-stage.ts';
import { TestProcess } from '../run/processes.ts';

export interface DeafHost extends AsyncDisposable {
  readonly endpoint: string;
}

/** A stopped process accepts nothing, and the kernel drops the first packets of clients once its queue is full. */
const script = `
  const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    console.log(JSON.stringify({ step: 'listening', port: server.address().port }));
    setTimeout(() => process.kill(process.pid, 'SIGSTOP'), 50);
  });`;

/** Works on Linux only. */
export async function deafHost(): Promise<DeafHost> {
  const child = new TestProcess(process.execPath, ['-e', script]);
  const port = Number((await child.reached('listening'))['port']);
  await sleep(200);
  const fillers: Socket[] = [];
  await eventually(async () => {
    const filler = connect(port, '127.0.0.1');
    filler.on('error', () => undefined);
    fillers.push(filler);
    const hasConnected = await Promise.race([once(filler, 'connect').then(() => true), sleep(200).then(() => false)]);
    if (hasConnected) throw new Error('The queue is not full yet');
  });
  return {
    endpoint: `127.0.0.1:${String(port)}`,
    async [Symbol.asyncDispose]() {
      for (const filler of fillers) filler.destroy();
      await child[Symbol.asyncDispose]();
    },
  };
}
