/**
 * The reasons why TLS with a host failed, in words that say what to change.
 *
 * grpc-js reports them like any connection that failed, with OpenSSL's words inside. A retry does not help, because a certificate that
 * one side refuses is refused the next time too.
 */

export interface TlsProblem {
  readonly words: string;
  /** False if a server that was about to stop looks the same. Then a retry may help. */
  readonly isCertain: boolean;
}

const certificates: readonly (readonly [form: RegExp, words: string])[] = [
  [/certificate has expired/, "the server's certificate, or that of its authority, has expired"],
  [/certificate is not yet valid/, "the server's certificate is not valid yet, by this machine's clock"],
  [
    /unable to (verify the first|get (local )?issuer) certificate|self[- ]signed certificate/,
    "the server's certificate is not of an authority in credentials.rootCertificate (or, without it, of one that Node trusts)",
  ],
];

/** The server's reasons to refuse TLS, by the alerts of RFC 8446 §6. Go sends 42 for most of them, and old Go also without a certificate. */
const alerts: Readonly<Record<string, string>> = {
  40: 'the server and this process have no cipher in common',
  42: 'the server requires a client certificate that it accepts: set credentials.privateKey and credentials.certChain',
  43: 'the server does not accept the type of the client certificate in credentials.certChain',
  44: 'the client certificate in credentials.certChain has been revoked',
  45: 'the client certificate in credentials.certChain has expired',
  46: 'the server does not accept the client certificate in credentials.certChain',
  48: 'the client certificate in credentials.certChain is of an authority that the server does not know',
  49: 'the server denies access with the client certificate in credentials.certChain',
  70: 'the server and this process have no version of TLS in common',
  116: 'the server requires a client certificate: set credentials.privateKey and credentials.certChain',
};

/** Explains the details of a failed call. Returns undefined if they have nothing to do with TLS. */
export function tlsProblem(details: string): TlsProblem | undefined {
  const [, last] = /^No connection established\. Last error: (.*)/s.exec(details) ?? [];
  if (last === undefined) return undefined;
  const [, ofFunction] = /(the function credentials .*?)\.?(?: Resolution note|$)/s.exec(last) ?? [];
  if (ofFunction !== undefined) return { words: ofFunction, isCertain: false };
  const [, ofOption] = /(the option credentials cannot .*?)\.?(?: Resolution note|$)/s.exec(last) ?? [];
  if (ofOption !== undefined) return { words: ofOption, isCertain: true };
  const [, alert = ''] = /SSL alert number (\d+)/.exec(last) ?? [];
  const ofServer = certificates.find(([form]) => form.test(last))?.[1] ?? nameProblem(last) ?? otherProblem(last);
  const words = alerts[alert] ?? ofServer;
  if (words !== undefined) return { words, isCertain: true };
  if (/wrong version number|packet length too long|before secure TLS connection was established/.test(last))
    return {
      words: 'the server ended the connection before TLS began; if it does not use TLS, write hosts with http://',
      isCertain: false,
    };
  if (last.startsWith('Failed to connect'))
    return {
      words: 'the server ended the connection; if it uses TLS, write hosts with https:// or set credentials',
      isCertain: false,
    };
  return undefined;
}

function nameProblem(text: string): string | undefined {
  const [, names] = /does not match certificate's altnames: (.*?)\.? Resolution note/s.exec(text) ?? [];
  if (names === undefined) return undefined;
  return `the server's certificate is for other names than in hosts (${names}): use one of them, or set grpcOptions['grpc.ssl_target_name_override']`;
}

/** OpenSSL's own reason, for all other certificates that it refuses. */
function otherProblem(text: string): string | undefined {
  const [, reason] = /^Error: ([^.;]*\b(?:certificate|CA|EE|CRL)\b[^.;]*)/.exec(text) ?? [];
  return reason === undefined ? undefined : `the server's certificate is refused: ${reason}`;
}
