/** Encodes and decodes etcd's messages with the protobuf definitions of etcd3, to test the codec of src against them. */
import type { ServiceDefinition } from '@grpc/grpc-js';
import { Etcd3 } from 'etcd3';

class Definitions extends Etcd3 {
  async of(service: 'KV' | 'Lease' | 'Watch'): Promise<ServiceDefinition> {
    return this.pool.withConnection(service, ({ client }) => (client.constructor as unknown as { service: ServiceDefinition }).service);
  }
}

export interface Messages {
  /** Decodes a request, with all defaults. */
  readonly readRequest: (bytes: Buffer) => unknown;
  readonly writeRequest: (message: object) => Buffer;
  readonly writeAnswer: (message: object) => Buffer;
}

/** Returns the codecs for the methods of one service. */
export async function messagesOf(service: 'KV' | 'Lease' | 'Watch'): Promise<(method: string) => Messages> {
  const client = new Definitions({ hosts: '127.0.0.1:1' });
  const methods = await client.of(service);
  client.close();
  return (method) => {
    const definition = methods[method];
    if (definition === undefined) throw new TypeError(`etcd3 has no method ${method}`);
    return {
      readRequest: definition.requestDeserialize,
      writeRequest: definition.requestSerialize,
      writeAnswer: definition.responseSerialize,
    };
  };
}
