/** Starts etcd in a container. @testcontainers/etcd is loaded on first use: it takes 250 ms, and does not load on Node 20. */
import { serverVersion, waitUntilHealthy } from './http.ts';

/** The start waits for a log line that etcd writes since 3.5, so a 3.4 image cannot be used. */
export const defaultImage = 'quay.io/coreos/etcd:v3.5.30';

export interface EtcdContainerRunning {
  readonly endpoint: string;
  readonly version: string;
  readonly stop: () => Promise<void>;
}

/**
 * Starts a container with etcd and waits until it is healthy.
 *
 * @throws {Error} if no container engine responds, which takes milliseconds, or the image cannot be pulled
 */
export async function startContainer(image: string): Promise<EtcdContainerRunning> {
  const { EtcdContainer } = await import('@testcontainers/etcd');
  const container = await new EtcdContainer(image).withStartupTimeout(60_000).start();
  const stop = async (): Promise<void> => {
    await container.stop();
  };
  try {
    const { host } = new URL(container.getClientEndpoint());
    // 'localhost' may resolve to ::1, where an engine can map a different port than on 127.0.0.1.
    const endpoint = host.replace(/^localhost:/, '127.0.0.1:');
    await waitUntilHealthy(endpoint); // etcd writes the log line before its election ends
    return { endpoint, version: await serverVersion(endpoint), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
