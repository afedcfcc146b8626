/**
 * X.509 certificates made on the spot: Node reads them but makes none, and openssl need not be there.
 *
 * Just what TLS between etcd and its clients needs, written in DER (ITU-T X.690) as RFC 5280 says: version 3, elliptic curve keys.
 */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIPv4 } from 'node:net';

/** PEM both. */
export interface Identity {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
}

export interface Subject {
  readonly commonName: string;
  /** Host names and IPv4 addresses that it is valid for. @default 127.0.0.1 and localhost */
  readonly hosts?: readonly string[];
  /** @default a day from now; a time that is over makes an expired certificate */
  readonly notAfter?: Date;
}

export interface Authority {
  /** Its own certificate: whoever has it among those that it trusts trusts all that were issued. */
  readonly certificate: Buffer;
  issue(subject: Subject): Identity;
}

const dayMs = 24 * 3_600_000;

export function makeAuthority(commonName: string): Authority {
  const keys = newKeys();
  const ca = { commonName, notAfter: new Date(Date.now() + dayMs) };
  const isAuthority = [extension('2.5.29.19', sequence(boolean(true))), extension('2.5.29.15', bits(0b0000_0110, 1))];
  return {
    certificate: pem('CERTIFICATE', certificateOf(ca, keys.publicKey, commonName, keys.privateKey, isAuthority)),
    issue({ commonName: name, hosts = ['127.0.0.1', 'localhost'], notAfter = new Date(Date.now() + dayMs) }) {
      const own = newKeys();
      // etcd's gateway is a client of its own server, with the server's certificate.
      const usages = extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2')));
      const names = extension('2.5.29.17', sequence(...hosts.map(alternativeName)));
      const der = certificateOf({ commonName: name, notAfter }, own.publicKey, commonName, keys.privateKey, [usages, names]);
      return { certificate: pem('CERTIFICATE', der), privateKey: Buffer.from(own.privateKey.export({ type: 'pkcs8', format: 'pem' })) };
    },
  };
}

const newKeys = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });

function certificateOf(
  { commonName, notAfter }: Required<Pick<Subject, 'commonName' | 'notAfter'>>,
  publicKey: KeyObject,
  issuer: string,
  issuerKey: KeyObject,
  extensions: readonly Buffer[],
): Buffer {
  const algorithm = sequence(oid('1.2.840.10045.4.3.2'));
  // Before the end in any case, also where that is long ago.
  const notBefore = new Date(Math.min(Date.now(), notAfter.getTime()) - dayMs);
  const content = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    distinguishedName(issuer),
    sequence(time(notBefore), time(notAfter)),
    distinguishedName(commonName),
    publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...extensions)),
  );
  return sequence(content, algorithm, bitString(0, sign('sha256', content, issuerKey)));
}

function tlv(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const boolean = (value: boolean): Buffer => tlv(0x01, Buffer.from([value ? 0xff : 0]));
const integer = (bytes: Uint8Array): Buffer => tlv(0x02, bytes);
const bitString = (unusedBits: number, bytes: Uint8Array): Buffer => tlv(0x03, Buffer.from([unusedBits]), bytes);
const bits = (byte: number, unusedBits: number): Buffer => bitString(unusedBits, Buffer.from([byte]));
const octets = (bytes: Uint8Array): Buffer => tlv(0x04, bytes);
const sequence = (...parts: readonly Uint8Array[]): Buffer => tlv(0x30, ...parts);
const explicit = (n: number, part: Uint8Array): Buffer => tlv(0xa0 + n, part);

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [40 * first + second, ...rest].flatMap((part) => {
    const groups = [part & 0x7f];
    for (let left = part >> 7; left > 0; left >>= 7) groups.unshift(0x80 | (left & 0x7f));
    return groups;
  });
  return tlv(0x06, Buffer.from(bytes));
}

const distinguishedName = (commonName: string): Buffer => sequence(tlv(0x31, sequence(oid('2.5.4.3'), tlv(0x0c, Buffer.from(commonName)))));

// YYMMDDHHMMSSZ
const time = (at: Date): Buffer => tlv(0x17, Buffer.from(`${at.toISOString().replaceAll(/\D/g, '').slice(2, 14)}Z`));

const extension = (id: string, value: Uint8Array): Buffer => sequence(oid(id), boolean(true), octets(value));

const alternativeName = (host: string): Buffer =>
  isIPv4(host) ? tlv(0x87, Buffer.from(host.split('.').map(Number))) : tlv(0x82, Buffer.from(host));

function pem(label: string, der: Uint8Array): Buffer {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return Buffer.from(`-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`);
}
