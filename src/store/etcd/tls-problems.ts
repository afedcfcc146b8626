/**
 * Why TLS with a host did not come about, in words that say what to mend.
 *
 * grpc-js tells of it as of any host that cannot be reached, with the words of OpenSSL in between. But to try again does not help: a
 * certificate that one side refuses is refused the next time too.
 */

export interface TlsProblem {
  readonly words: string;
  /** Whether it is certain, and so not to be tried again; otherwise a server that was about to end looks the same. */
  readonly isCertain: boolean;
}

const certificates: readonly (readonly [form: RegExp, words: string])[] = [
  [/certificate has expired/, "the server's certificate, or that of its authority, has expired"],
  [/certificate is not yet valid/, "the server's certificate is not valid yet, by this machine's clock"],
  [
    /unable to (verify the first|get (local )?issuer) certificate|self[- ]signed certificate/,
    "the server's certificate is not of an authority in credentials.rootCertificate (or, without it, of one that Node knows)",
  ],
];

/** What a server says of ours, by the numbers of RFC 8446 §6. Go says 42 for most of them, older ones also where there is none. */
const alerts: Readonly<Record<string, string>> = {
  40: 'the server and this process agree on no cipher',
  42: 'the server wants a client certificate and got none that it takes: set credentials.privateKey and credentials.certChain',
  43: 'the server does not take the kind of the client certificate in credentials.certChain',
  44: 'the client certificate in credentials.certChain has been revoked',
  45: 'the client certificate in credentials.certChain has expired',
  46: 'the server does not take the client certificate in credentials.certChain',
  48: 'the client certificate in credentials.certChain is of an authority that the server does not know',
  49: 'the server lets nobody in with the client certificate in credentials.certChain',
  70: 'the server and this process agree on no version of TLS',
  116: 'the server wants a client certificate: set credentials.privateKey and credentials.certChain',
};

/** undefined where `details`, of a call that failed, have nothing to do with TLS. */
export function tlsProblem(details: string): TlsProblem | undefined {
  const [, last] = /^No connection established\. Last error: (.*)/s.exec(details) ?? [];
  if (last === undefined) return undefined;
  const [, alert = ''] = /SSL alert number (\d+)/.exec(last) ?? [];
  const ofServer = certificates.find(([form]) => form.test(last))?.[1] ?? nameProblem(last) ?? otherProblem(last);
  const words = alerts[alert] ?? ofServer;
  if (words !== undefined) return { words, isCertain: true };
  if (/wrong version number|packet length too long|before secure TLS connection was established/.test(last))
    return {
      words: 'the server ended TLS before it began; perhaps it speaks none, and hosts should be written with http://',
      isCertain: false,
    };
  if (last.startsWith('Failed to connect'))
    return {
      words: 'the server ended the connection; perhaps it wants TLS: write hosts with https:// or set credentials',
      isCertain: false,
    };
  return undefined;
}

function nameProblem(text: string): string | undefined {
  const [, names] = /does not match certificate's altnames: (.*?)\.? Resolution note/s.exec(text) ?? [];
  if (names === undefined) return undefined;
  return `the server's certificate is for other names than in hosts (${names}): use one of them, or set grpcOptions['grpc.ssl_target_name_override']`;
}

/** Any other of the reasons for which OpenSSL refuses a certificate. */
function otherProblem(text: string): string | undefined {
  const [, reason] = /^Error: ([^.;]*\b(?:certificate|CA|EE|CRL)\b[^.;]*)/.exec(text) ?? [];
  return reason === undefined ? undefined : `the server's certificate is refused: ${reason}`;
}
