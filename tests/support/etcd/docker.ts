/** etcd in a container. @testcontainers/etcd is loaded only here, as it costs a quarter of a second and does not load on Node 20. */
import { serverVersion, waitUntilHealthy } from './http.ts';

/** Its start waits for a log line that etcd writes since 3.5, so no 3.4 image can be used. */
export const defaultImage = 'quay.io/coreos/etcd:v3.5.30';

export interface EtcdContainerRunning {
  readonly endpoint: string;
  readonly version: string;
  readonly stop: () => Promise<void>;
}

/** @throws {Error} where no container engine answers (that is known within milliseconds), or the image cannot be had */
export async function startContainer(image: string): Promise<EtcdContainerRunning> {
  const { EtcdContainer } = await import('@testcontainers/etcd');
  const container = await new EtcdContainer(image).withStartupTimeout(60_000).start();
  const stop = async (): Promise<void> => {
    await container.stop();
  };
  try {
    const { host } = new URL(container.getClientEndpoint());
    // 'localhost' may mean ::1, where an engine can map another port than on 127.0.0.1
    const endpoint = host.replace(/^localhost:/, '127.0.0.1:');
    await waitUntilHealthy(endpoint); // the log line comes before the election is over
    return { endpoint, version: await serverVersion(endpoint), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
