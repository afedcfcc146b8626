/** How a host of etcd may be written, and the URL that is meant. */

const hostForm = /^(?:(https?):\/\/)?(\[[0-9a-f:.]+\]|[^\s/:@?#,[\]]+)(?::(\d{1,5}))?\/?$/i;

export function isHost(input: string): boolean {
  const port = hostForm.exec(input)?.[3];
  return hostForm.test(input) && (port === undefined || (Number(port) > 0 && Number(port) < 65_536));
}

export function hostList(hosts: string | readonly string[] | undefined): readonly string[] {
  if (hosts === undefined) return ['127.0.0.1:2379'];
  return typeof hosts === 'string' ? [hosts] : hosts;
}

/** A bare host is reached by TLS exactly when credentials are given. */
export function isSecure(input: string, hasCredentials: boolean): boolean {
  const scheme = hostForm.exec(input)?.[1]?.toLowerCase();
  return scheme === undefined ? hasCredentials : scheme === 'https';
}

export function toUrl(input: string, hasCredentials: boolean): string {
  const [, , name = '', port = '2379'] = hostForm.exec(input) ?? [];
  return `${isSecure(input, hasCredentials) ? 'https' : 'http'}://${name}:${port}`;
}
