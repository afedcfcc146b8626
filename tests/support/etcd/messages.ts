/** etcd's messages as etcd3's own protobuf definitions read and write them: what our codec is measured against. */
import type { ServiceDefinition } from '@grpc/grpc-js';
import { Etcd3 } from 'etcd3';

class Definitions extends Etcd3 {
  async of(service: 'KV' | 'Lease' | 'Watch'): Promise<ServiceDefinition> {
    return this.pool.withConnection(service, ({ client }) => (client.constructor as unknown as { service: ServiceDefinition }).service);
  }
}

export interface Messages {
  /** What a request says, with all its defaults. */
  readonly readRequest: (bytes: Buffer) => unknown;
  readonly writeRequest: (message: object) => Buffer;
  readonly writeAnswer: (message: object) => Buffer;
}

/** Of the methods of one service. */
export async function messagesOf(service: 'KV' | 'Lease' | 'Watch'): Promise<(method: string) => Messages> {
  const client = new Definitions({ hosts: '127.0.0.1:1' });
  const methods = await client.of(service);
  client.close();
  return (method) => {
    const definition = methods[method];
    if (definition === undefined) throw new TypeError(`etcd3 knows no method ${method}`);
    return {
      readRequest: definition.requestDeserialize,
      writeRequest: definition.requestSerialize,
      writeAnswer: definition.responseSerialize,
    };
  };
}
