/** How a worker talks to the test that started it. */
import { writeSync } from 'node:fs';

export interface Settings {
  readonly hosts: string;
  readonly prefix: string;
  readonly ttlMs: number;
  readonly name: string;
  readonly scenario: string;
  readonly times: number;
}

export const settings = JSON.parse(process.argv[2] ?? '{}') as Settings;

/** At once, even if the process is stopped or ends right after it. */
export function tell(step: string, details: Readonly<Record<string, unknown>> = {}): void {
  writeSync(1, `${JSON.stringify({ step, ...details })}\n`);
}
