/** Parses the hosts of an etcd cluster: `10.0.0.1`, `etcd.example:2379`, `[::1]:2379`, `https://etcd.example:2379`. */

const hostForm = /^(?:(https?):\/\/)?(\[[0-9a-f:.]+\]|[^\s/:@?#,[\]]+)(?::(\d{1,5}))?\/?$/i;

export function isHost(input: string): boolean {
  const port = hostForm.exec(input)?.[3];
  return hostForm.test(input) && (port === undefined || (Number(port) > 0 && Number(port) < 65_536));
}

export function toHostList(hosts: string | readonly string[] | undefined): readonly string[] {
  if (hosts === undefined) return ['127.0.0.1:2379'];
  return typeof hosts === 'string' ? [hosts] : hosts;
}

/** Reports whether the connection uses TLS. A host without a scheme uses TLS if credentials are given. */
export function isSecure(host: string, hasCredentials: boolean): boolean {
  const scheme = hostForm.exec(host)?.[1]?.toLowerCase();
  return scheme === undefined ? hasCredentials : scheme === 'https';
}

export function toUrl(host: string, hasCredentials: boolean): string {
  const [, , name = '', port = '2379'] = hostForm.exec(host) ?? [];
  return `${isSecure(host, hasCredentials) ? 'https' : 'http'}://${name}:${port}`;
}
