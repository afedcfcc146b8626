/** Whether certificates and key are what they must be, before anything is sent: what TLS says of a broken one comes late and says little. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { OptionIssue } from '../errors.ts';

interface Given {
  readonly rootCertificate: Buffer;
  readonly privateKey?: Buffer | undefined;
  readonly certChain?: Buffer | undefined;
}

const block = /-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----[^-]*-----END \1-----/g;

/** What is wrong with them, each by the name of its option; never a word of what they hold. */
export function credentialIssues({ rootCertificate, privateKey, certChain }: Given): readonly OptionIssue[] {
  const issues: OptionIssue[] = [];
  const check = <T>(path: string, expected: string, read: () => T): T | undefined => {
    try {
      return read();
    } catch {
      issues.push({ path, message: `expected ${expected}` });
      return undefined;
    }
  };
  check('rootCertificate', 'one or more certificates in PEM', () => readCertificates(rootCertificate));
  const leaf = certChain && check('certChain', 'one or more certificates in PEM, its own first', () => readCertificates(certChain));
  const key = privateKey && check('privateKey', 'a private key in PEM, not encrypted', () => createPrivateKey(privateKey));
  if (leaf !== undefined && key !== undefined && !isPair(leaf, key))
    issues.push({ path: 'privateKey', message: 'expected the key of the first certificate in certChain, got another' });
  return issues;
}

/** The first of them. */
function readCertificates(pem: Buffer): X509Certificate {
  const [first] = [...pem.toString('latin1').matchAll(block)].map(([text]) => new X509Certificate(text));
  if (first === undefined) throw new TypeError('no certificate');
  return first;
}

function isPair(certificate: X509Certificate, key: KeyObject): boolean {
  try {
    return certificate.checkPrivateKey(key);
  } catch {
    return false;
  }
}
