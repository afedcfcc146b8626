/**
 * The rules for certificates and keys.
 *
 * They are checked before the first connection, because TLS reports a broken one late and in few words. No message contains a part of
 * them.
 */
import type { KeyObject, X509Certificate } from 'node:crypto';
import type { OptionIssue } from '../errors.ts';
import { findMemberIssues } from './secrets.ts';
import type { Credentials } from './types.ts';

const certificateBlock = /-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----[^-]*-----END \1-----/g;

const pems = ['rootCertificate', 'privateKey', 'certChain'] as const;

/** Returns the issues of the option `credentials`, with paths below it. */
export function findCredentialIssues(input: unknown): readonly OptionIssue[] {
  const issues = findMemberIssues<Credentials>(input, {
    ...Object.fromEntries(pems.map((path) => [path, (given: unknown) => (isBufferOrNone(given) ? undefined : 'expected a Buffer')])),
    passphrase: (given) => (given === undefined || typeof given === 'string' ? undefined : 'expected a string'),
  });
  return issues.length > 0 ? issues : [...findPemIssues(input as Credentials)];
}

const isBufferOrNone = (given: unknown): boolean => given === undefined || Buffer.isBuffer(given);

function* findPemIssues({ rootCertificate, privateKey, certChain, passphrase }: Credentials): Iterable<OptionIssue> {
  if (rootCertificate !== undefined && readFirstCertificate(rootCertificate) === undefined)
    yield { path: 'rootCertificate', message: 'expected one or more certificates in PEM format' };
  const leaf = certChain && readFirstCertificate(certChain);
  if (certChain !== undefined && leaf === undefined)
    yield { path: 'certChain', message: 'expected one or more certificates in PEM format, the client certificate first' };
  const key = privateKey && readKey(privateKey, passphrase);
  if (key !== undefined && 'message' in key) yield key;
  else if (key !== undefined && leaf !== undefined && !isPair(leaf, key))
    yield { path: 'privateKey', message: 'expected the key of the first certificate in certChain, got another key' };
  if (passphrase !== undefined && privateKey === undefined)
    yield { path: 'passphrase', message: 'expected privateKey beside it, the key that it decrypts' };
  const missing = privateKey === undefined ? 'privateKey' : 'certChain';
  if ((privateKey === undefined) !== (certChain === undefined))
    yield { path: missing, message: 'expected privateKey and certChain together, got one of them' };
}

/** Parses all certificates, and returns the first one. */
function readFirstCertificate(pem: Buffer): X509Certificate | undefined {
  const { X509Certificate } = loadCrypto();
  try {
    return [...pem.toString('latin1').matchAll(certificateBlock)].map(([text]) => new X509Certificate(text))[0];
  } catch {
    return undefined;
  }
}

function readKey(pem: Buffer, passphrase: string | undefined): KeyObject | OptionIssue {
  try {
    return loadCrypto().createPrivateKey({ key: pem, passphrase });
  } catch {
    if (!/^-----BEGIN ENCRYPTED|^Proc-Type: 4,ENCRYPTED/m.test(pem.toString('latin1')))
      return { path: 'privateKey', message: 'expected a private key in PEM format' };
    const given = passphrase === undefined ? 'got none' : 'got another one, or a broken key';
    return { path: 'passphrase', message: `expected the passphrase of the encrypted key in privateKey, ${given}` };
  }
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
