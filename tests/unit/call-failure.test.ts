/** Tests of failed calls: whether etcd may have applied them, and which error the caller gets. */
import { EtcdAuthError, EtcdRefusedError } from 'etcd-locker';
import { describe, expect, test } from 'vitest';
import { CallFailure, isUnauthenticated, noResponse, toFailure, toRefusal } from '../../src/store/etcd/call-failure.ts';
import { LeaseNotFoundError } from '../../src/errors.ts';
import { hasNoReason } from '../../src/store/etcd/silence.ts';

const outcomes = [
  ['14 UNAVAILABLE: No connection established. Last error: connect ECONNREFUSED 127.0.0.1:1', 'unsent'],
  ['14 UNAVAILABLE: Name resolution failed for target dns:etcd.example:2379', 'unsent'],
  ['4 DEADLINE_EXCEEDED: Deadline exceeded after 0.5s,Waiting for LB pick', 'unsent'],
  ['4 DEADLINE_EXCEEDED: Deadline exceeded after 0.5s,waiting for name resolution', 'unsent'],
  ['8 RESOURCE_EXHAUSTED: etcdserver: too many requests', 'unsent'],
  ['4 DEADLINE_EXCEEDED: Deadline exceeded after 0.5s,LB pick: 0.001s,remote_addr=127.0.0.1:2379', 'unknown'],
  ['14 UNAVAILABLE: etcdserver: request timed out', 'unknown'],
  ['14 UNAVAILABLE: etcdserver: leader changed', 'unknown'],
  ['14 UNAVAILABLE: read ECONNRESET', 'unknown'],
  ['1 CANCELLED: Call cancelled', 'unknown'],
  ['13 INTERNAL: Received RST_STREAM with code 2', 'unknown'],
  ['8 RESOURCE_EXHAUSTED: Received message larger than max (70000000 vs 67108864)', 'unknown'],
  ['3 INVALID_ARGUMENT: etcdserver: request is too large', 'refused'],
  ['5 NOT_FOUND: etcdserver: requested lease not found', 'refused'],
  ['7 PERMISSION_DENIED: etcdserver: permission denied', 'refused'],
  ['11 OUT_OF_RANGE: etcdserver: mvcc: required revision has been compacted', 'refused'],
  ['9 FAILED_PRECONDITION: etcdserver: rpc not supported for learner', 'unsent'],
  ['14 UNAVAILABLE: etcdserver: rpc not supported for learner', 'unsent'],
  ['9 FAILED_PRECONDITION: etcdserver: not capable', 'unsent'],
  ['14 UNAVAILABLE: etcdserver: not capable', 'unsent'],
  ['9 FAILED_PRECONDITION: etcdserver: not leader', 'unsent'],
  ['14 UNAVAILABLE: etcdserver: no leader', 'unsent'],
  ['2 UNKNOWN: raft proposal dropped', 'unsent'],
  ['2 UNKNOWN: raft: stopped', 'unknown'],
  ['14 UNAVAILABLE: etcdserver: server stopped', 'unknown'],
  ['14 UNAVAILABLE: etcdserver: request timed out, possibly due to previous leader failure', 'unknown'],
  ['14 UNAVAILABLE: etcdserver: request timed out, possibly due to connection lost', 'unknown'],
  ['14 UNAVAILABLE: etcdserver: request timed out, waiting for the applied index took too long', 'unknown'],
  ['14 UNAVAILABLE: etcdserver: unhealthy cluster', 'unknown'],
  ['1 CANCELLED: etcdserver: request canceled', 'unknown'],
  ['4 DEADLINE_EXCEEDED: etcdserver: context deadline exceeded', 'unknown'],
  ['15 DATA_LOSS: etcdserver: corrupt cluster', 'refused'],
  ['15 DATA_LOSS: something else', 'unknown'],
  ['9 FAILED_PRECONDITION: etcdserver: lease already exists', 'refused'],
  ['9 FAILED_PRECONDITION: etcdserver: authentication is not enabled', 'refused'],
  ['11 OUT_OF_RANGE: etcdserver: too large lease TTL', 'refused'],
  ['3 INVALID_ARGUMENT: etcdserver: invalid client api version', 'refused'],
  ['3 INVALID_ARGUMENT: etcdserver: too many operations in txn request', 'refused'],
  ['8 RESOURCE_EXHAUSTED: grpc: received message larger than max (6553728 vs. 2097152)', 'refused'],
  ['8 RESOURCE_EXHAUSTED: grpc: received message after decompression larger than max 2097152', 'refused'],
  ['8 RESOURCE_EXHAUSTED: Attempted to send message with a size larger than 4', 'refused'],
  ['16 UNAUTHENTICATED: etcdserver: invalid auth token', 'stale-token'],
  ['3 INVALID_ARGUMENT: etcdserver: revision of auth store is old', 'stale-token'],
] as const;

describe('toFailure()', () => {
  test.each(outcomes)('toFailure() of %j is %s', (message, kind) => {
    expect(toFailure(new Error(message)).kind).toBe(kind);
  });

  test('toFailure() counts a call as possibly applied when etcd is out of space', () => {
    expect(toFailure(new Error('8 RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded')).kind).not.toMatch(/unsent|refused/);
  });

  test('toFailure() counts every other failure as unknown', () => {
    expect(toFailure(new TypeError('boom'))).toMatchObject({ kind: 'unknown', details: 'boom' });
    expect(toFailure('text')).toMatchObject({ kind: 'unknown', details: 'text' });
    expect(noResponse(800.4)).toMatchObject({ kind: 'unknown', details: 'no response within 800 ms' });
  });

  test('toFailure() keeps the cause, the code and the words of etcd, over several lines', () => {
    const cause = new Error('14 UNAVAILABLE: first\nsecond');

    const failure = toFailure(cause);

    expect(failure).toMatchObject({ code: 14, details: 'first\nsecond', cause });
    expect(toFailure(failure)).toBe(failure);
    expect(isUnauthenticated(failure)).toBe(false);
    expect(isUnauthenticated(toFailure(new Error('16 UNAUTHENTICATED: x')))).toBe(true);
  });
});

const tls = (last: string): string => `14 UNAVAILABLE: No connection established. Last error: ${last}. Resolution note: `;
const alert = (number: number, name: string): string =>
  tls(
    `40AD:error:0A000412:SSL routines:ssl3_read_bytes:${name}:../rec_layer_s3.c:918:SSL alert number ${String(number)}\n (2026-11-25T14:59:08Z)`,
  );

describe('toFailure() of a failed TLS handshake', () => {
  test.each([
    [tls('Error: certificate has expired'), /has expired$/],
    [tls('Error: certificate is not yet valid'), /clock$/],
    [
      tls('Error: unable to verify the first certificate; if the root CA is installed locally, try running'),
      /credentials\.rootCertificate/,
    ],
    [tls('Error: unable to get local issuer certificate'), /credentials\.rootCertificate/],
    [tls('Error: self-signed certificate in certificate chain'), /credentials\.rootCertificate/],
    [tls('Error: self signed certificate'), /credentials\.rootCertificate/],
    [tls('Error: certificate signature failure'), /refused: certificate signature failure$/],
    [tls('Error: EE certificate key too weak'), /refused: EE certificate key too weak$/],
    [
      tls(
        "Error [ERR_TLS_CERT_ALTNAME_INVALID]: Hostname/IP does not match certificate's altnames: Host: a. is not in the cert's altnames: DNS:b",
      ),
      /other names than in hosts \(Host: a\. is not in the cert's altnames: DNS:b\): .*ssl_target_name_override/,
    ],
    [alert(42, 'alert bad certificate'), /credentials\.privateKey and credentials\.certChain$/],
    [alert(45, 'alert certificate expired'), /credentials\.certChain has expired$/],
    [alert(48, 'alert unknown ca'), /authority that the server does not know$/],
    [alert(116, 'tlsv13 alert certificate required'), /credentials\.privateKey and credentials\.certChain$/],
  ])('%j is final, and the details name the option to change', (message, words) => {
    const failure = toFailure(new Error(message));

    expect(failure.kind).toBe('untrusted');
    expect(failure.details).toMatch(words);
    expect(failure.details).not.toMatch(/[\n;]|Resolution|OpenSSL|SSL routines/);
  });

  test.each([
    [tls('Error: Client network socket disconnected before secure TLS connection was established'), /http:\/\/$/],
    [tls('Error: 1:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:..'), /http:\/\/$/],
    [tls('Failed to connect (2026-11-25T14:58:45.605Z)'), /https:\/\/ or set credentials$/],
  ])('%j may be retried, and the details name a likely cause', (message, words) => {
    const failure = toFailure(new Error(message));

    expect(failure.kind).not.toMatch(/untrusted|refused/);
    expect(failure.details).toMatch(words);
  });

  test.each([
    [
      tls('CallFailure: the function credentials failed: cannot read certificate, SSL alert number 45'),
      /^the function credentials failed: cannot/,
    ],
    [
      tls('CallFailure: the function credentials failed: 403: invalid auth token'),
      /^the function credentials failed: 403: invalid auth token$/,
    ],
    ['14 UNAVAILABLE: the function auth failed: 403: invalid auth token', /^the function auth failed: 403: invalid auth token$/],
  ])('%j is the failure of a function, and may be retried', (message, words) => {
    const failure = toFailure(new Error(message));

    expect(failure.kind).toBe('unsent');
    expect(failure.details).toMatch(words);
  });

  test('credentials that OpenSSL does not take are final', () => {
    const failure = toFailure(
      new Error(tls('Error: the option credentials cannot be used: error:0A00018F:SSL routines::ee key too small')),
    );

    expect(failure).toMatchObject({
      kind: 'untrusted',
      details: expect.stringMatching(/^the option credentials cannot be used: /) as string,
    });
  });

  test.each([
    tls('Error: connect ECONNREFUSED 127.0.0.1:1'),
    alert(80, 'alert internal error'),
    '14 UNAVAILABLE: certificate has expired',
    '14 UNAVAILABLE: No connection established. Last error: null. Resolution note: ',
  ])('%j is not a problem with certificates', (message) => {
    expect(toFailure(new Error(message)).kind).not.toBe('untrusted');
  });
});

describe('toFailure() of a connection that failed', () => {
  test.each([
    [tls('Error: connect ECONNREFUSED 127.0.0.1:1'), 'connect ECONNREFUSED 127.0.0.1:1'],
    [tls('null'), 'no connection established'],
    [`${tls('Error: connect ECONNREFUSED 127.0.0.1:1')}no address`, 'connect ECONNREFUSED 127.0.0.1:1; no address'],
  ])('the details of %j are the reason alone', (message, words) => {
    expect(toFailure(new Error(message))).toMatchObject({ kind: 'unsent', details: words });
  });

  test('hasNoReason() is true only if grpc-js gave no reason', () => {
    expect(hasNoReason(toFailure(new Error(tls('null'))))).toBe(true);
    expect(hasNoReason(toFailure(new Error(tls('Error: connect ECONNREFUSED 127.0.0.1:1'))))).toBe(false);
  });

  test('the details name the time of a call without a response', () => {
    const failure = toFailure(new Error('4 DEADLINE_EXCEEDED: Deadline exceeded after 1.25s,LB pick: 0.001s,remote_addr=127.0.0.1:2379'));

    expect(failure).toMatchObject({ kind: 'unknown', code: 4, details: 'no response within 1250 ms' });
  });
});

describe('toRefusal()', () => {
  test.each([
    [5, 'etcdserver: requested lease not found', LeaseNotFoundError],
    [7, 'etcdserver: permission denied', EtcdAuthError],
    [16, 'etcdserver: invalid auth token', EtcdAuthError],
    [3, 'etcdserver: authentication failed, invalid user ID or password', EtcdAuthError],
    [9, 'etcdserver: authentication is not enabled', EtcdAuthError],
    [3, 'etcdserver: user name not found', EtcdAuthError],
    [3, 'etcdserver: request is too large', EtcdRefusedError],
    [3, 'etcdserver: duplicate key given in txn request', EtcdRefusedError],
    [15, 'etcdserver: corrupt cluster', EtcdRefusedError],
  ])('toRefusal() of %i %j returns the error class for the caller', (code, details, type) => {
    const refusal = toRefusal(new CallFailure(code, details), 'locks/');

    expect(refusal).toBeInstanceOf(type);
    expect(refusal.message).toContain(details);
    if (refusal instanceof EtcdAuthError) expect(refusal).toMatchObject({ prefix: 'locks/' });
  });

  test.each([
    [
      3,
      'etcdserver: user name is empty',
      'authentication is on, so the option auth needs a user of etcd; the role needs readwrite permission for the prefix "locks/"',
    ],
    [
      3,
      'etcdserver: authentication failed, invalid user ID or password',
      'the option auth needs the name and the password of a user of etcd; the role needs readwrite permission for the prefix "locks/"',
    ],
    [7, 'etcdserver: permission denied', 'the role needs readwrite permission for the prefix "locks/"'],
  ])('toRefusal() of %i %j says what to do', (code, details, remedy) => {
    expect(toRefusal(new CallFailure(code, details), 'locks/').message).toBe(`Cannot use etcd: ${details}; ${remedy}`);
  });

  test('toRefusal() marks only a corrupt cluster as a refusal that no retry can help', () => {
    expect(toRefusal(new CallFailure(15, 'etcdserver: corrupt cluster'), 'locks/')).toMatchObject({ isFinal: true });
    expect(toRefusal(new CallFailure(3, 'etcdserver: request is too large'), 'locks/')).toMatchObject({ isFinal: false });
  });
});
