/** The settings that a worker gets from its test, and the steps that it reports. */
import { writeSync } from 'node:fs';

export interface Settings {
  readonly hosts: string;
  readonly prefix: string;
  readonly ttlMs: number;
  readonly requestTimeoutMs?: number;
  readonly name: string;
  readonly scenario: string;
  readonly times: number;
}

export const settings = JSON.parse(process.argv[2] ?? '{}') as Settings;

/** Prints a step synchronously, so that it arrives even if the process stops or ends next. */
export function report(step: string, details: Readonly<Record<string, unknown>> = {}): void {
  writeSync(1, `${JSON.stringify({ step, ...details })}\n`);
}
