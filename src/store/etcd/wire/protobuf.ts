/**
 * The wire format of protocol buffers, reduced to what etcd's messages need.
 *
 * This folder translates between the port and the wire. Read this file first, then `encode.ts` (requests) and `decode.ts` (responses).
 * A message is written from its end to its beginning, so its fields are written last first. An inner message is then complete before
 * its length is written, and one pass is enough. Source: protobuf.dev/programming-guides/encoding.
 */

const varint = 0;
const fixed64 = 1;
const delimited = 2;
const fixed32 = 5;

export class Writer {
  #bytes = Buffer.allocUnsafeSlow(4 * 1024);
  #at = this.#bytes.length;

  /** Starts a message. Discards the rest of a message that was not finished. */
  begin(): void {
    this.#at = this.#bytes.length;
  }

  /** The number of bytes written. Use it as the mark for `close`. */
  get length(): number {
    return this.#bytes.length - this.#at;
  }

  /** Writes a whole number. Leaves out 0, because a missing field means 0. */
  number(field: number, value: number): void {
    if (value === 0) return;
    this.#varint(value);
    this.#varint(field * 8 + varint);
  }

  flag(field: number, value: boolean | undefined): void {
    if (value === true) this.number(field, 1);
  }

  /** Writes a 64-bit number, also 0, which makes a difference within a oneof. */
  int64(field: number, value: bigint): void {
    if (value >= 0n && value <= Number.MAX_SAFE_INTEGER) this.#varint(Number(value));
    else this.#bigVarint(BigInt.asUintN(64, value));
    this.#varint(field * 8 + varint);
  }

  string(field: number, value: string): void {
    const size = Buffer.byteLength(value);
    this.#reserve(size);
    this.#at -= size;
    this.#bytes.write(value, this.#at);
    this.close(field, this.length - size);
  }

  bytes(field: number, value: Uint8Array): void {
    this.raw(value);
    this.close(field, this.length - value.length);
  }

  /** Writes bytes that are already encoded. */
  raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#at -= value.length;
    this.#bytes.set(value, this.#at);
  }

  /** Turns all bytes since the mark into one field, an inner message. */
  close(field: number, mark: number): void {
    this.#varint(this.length - mark);
    this.#varint(field * 8 + delimited);
  }

  /** Returns the message, and empties the writer. */
  finish(): Buffer {
    const message = Buffer.from(this.#bytes.subarray(this.#at));
    this.#at = this.#bytes.length;
    // One large message must not keep its memory for ever.
    if (this.#at > maxKeptBytes) this.#grow(maxKeptBytes);
    return message;
  }

  #varint(value: number): void {
    this.#reserve(10);
    if (value < 0x80) {
      this.#bytes[--this.#at] = value;
      return;
    }
    let size = 1;
    for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size += 1;
    this.#at -= size;
    for (let rest = value, at = this.#at; at < this.#at + size; rest = Math.floor(rest / 0x80), at += 1) {
      this.#bytes[at] = at === this.#at + size - 1 ? rest : (rest % 0x80) | 0x80;
    }
  }

  #bigVarint(value: bigint): void {
    this.#reserve(10);
    const bytes: number[] = [];
    let rest = value;
    for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
    bytes.push(Number(rest));
    this.#at -= bytes.length;
    this.#bytes.set(bytes, this.#at);
  }

  #reserve(size: number): void {
    if (size > this.#at) this.#grow(2 * (this.length + size));
  }

  #grow(size: number): void {
    const written = this.#bytes.subarray(this.#at);
    const bytes = Buffer.allocUnsafeSlow(size);
    this.#at = size - written.length;
    bytes.set(written, this.#at);
    this.#bytes = bytes;
  }
}

const maxKeptBytes = 1024 * 1024;

export class Reader {
  readonly #bytes: Buffer;
  #at: number;
  readonly #end: number;
  #type = varint;

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  /**
   * Returns the number of the next field, or 0 at the end. The caller reads or skips its value.
   * @throws {MalformedMessageError} also each method that reads or skips a value
   */
  next(): number {
    if (this.#at >= this.#end) return 0;
    const tag = this.#varint();
    this.#type = tag & 7;
    const field = Math.floor(tag / 8);
    if (field === 0) throw new MalformedMessageError('a field has the number 0');
    return field;
  }

  /** Reads a number. It is exact up to 2^53. */
  number(): number {
    this.#expect(varint);
    return this.#varint();
  }

  flag(): boolean {
    return this.number() !== 0;
  }

  int64(): bigint {
    this.#expect(varint);
    const start = this.#at;
    // Seven bytes hold 49 bits: more than any revision needs, and exact as a number.
    let at = start;
    while (at < this.#end && (this.#bytes[at] ?? 0) >= 0x80) at += 1;
    if (at - start < 7) return BigInt(this.#varint());
    if (at >= this.#end || at - start >= 10) throw new MalformedMessageError('a number does not end');
    this.#at = at + 1;
    let value = 0n;
    for (; at >= start; at -= 1) value = (value << 7n) | BigInt((this.#bytes[at] ?? 0) & 0x7f);
    return BigInt.asIntN(64, value);
  }

  string(): string {
    const end = this.#delimitedEnd();
    const value = this.#bytes.toString('utf8', this.#at, end);
    this.#at = end;
    return value;
  }

  /** Returns a reader of the inner message at this field. */
  message(): Reader {
    const end = this.#delimitedEnd();
    const inner = new Reader(this.#bytes, this.#at, end);
    this.#at = end;
    return inner;
  }

  /** Skips a value. A newer etcd sends fields that are unknown here. */
  skip(): void {
    // Not as a bigint: the ids of cluster and member, in each response, have 64 bits.
    if (this.#type === varint) this.#varint();
    else if (this.#type === delimited) this.#at = this.#delimitedEnd();
    else if (this.#type === fixed64) this.#advance(8);
    else if (this.#type === fixed32) this.#advance(4);
    else throw new MalformedMessageError(`a field has the unknown type ${this.#type}`);
  }

  #delimitedEnd(): number {
    this.#expect(delimited);
    const size = this.#varint();
    const end = this.#at + size;
    if (end > this.#end) throw new MalformedMessageError('it ends too early');
    return end;
  }

  #varint(): number {
    let value = 0;
    let factor = 1;
    for (let count = 0; count < 10; count += 1) {
      if (this.#at >= this.#end) throw new MalformedMessageError('it ends too early');
      const byte = this.#bytes[this.#at++] ?? 0;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 0x80;
    }
    throw new MalformedMessageError('a number does not end');
  }

  #advance(size: number): void {
    this.#at += size;
    if (this.#at > this.#end) throw new MalformedMessageError('it ends too early');
  }

  #expect(type: number): void {
    if (this.#type !== type) throw new MalformedMessageError(`a field has the type ${this.#type} instead of ${type}`);
  }
}

/** A message does not have the form that etcd sends. */
export class MalformedMessageError extends Error {
  override readonly name = 'MalformedMessageError';

  constructor(reason: string) {
    super(`Cannot read the response of etcd: ${reason}`);
  }
}
