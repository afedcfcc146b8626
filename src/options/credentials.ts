/** Checks certificates and keys before the first connection, because TLS reports a broken one late and in few words. */
import type { KeyObject, X509Certificate } from 'node:crypto';
import type { OptionIssue } from '../errors.ts';
import type { Credentials } from './types.ts';

const certificateBlock = /-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----[^-]*-----END \1-----/g;

/** Returns the issues of the credentials, each with the name of its option. The messages contain no part of the credentials. */
export function findCredentialIssues({ rootCertificate, privateKey, certChain }: Credentials): readonly OptionIssue[] {
  const issues: OptionIssue[] = [];
  const check = <T>(path: string, expected: string, read: () => T): T | undefined => {
    try {
      return read();
    } catch {
      issues.push({ path, message: `expected ${expected}` });
      return undefined;
    }
  };
  check('rootCertificate', 'one or more certificates in PEM format', () => readFirstCertificate(rootCertificate));
  const leaf =
    certChain &&
    check('certChain', 'one or more certificates in PEM format, the client certificate first', () => readFirstCertificate(certChain));
  const key =
    privateKey && check('privateKey', 'an unencrypted private key in PEM format', () => loadCrypto().createPrivateKey(privateKey));
  if (leaf !== undefined && key !== undefined && !isPair(leaf, key))
    issues.push({ path: 'privateKey', message: 'expected the key of the first certificate in certChain, got another key' });
  return issues;
}

/** Parses all certificates, and returns the first one. */
function readFirstCertificate(pem: Buffer): X509Certificate {
  const { X509Certificate } = loadCrypto();
  const [first] = [...pem.toString('latin1').matchAll(certificateBlock)].map(([text]) => new X509Certificate(text));
  if (first === undefined) throw new TypeError('no certificate');
  return first;
}

// The import of node:crypto takes 4 ms, and most lockers have no credentials.
const loadCrypto = () => process.getBuiltinModule('node:crypto');

function isPair(certificate: X509Certificate, key: KeyObject): boolean {
  try {
    return certificate.checkPrivateKey(key);
  } catch {
    return false;
  }
}
