/** Collects the figures of all scenarios, and prints them as a table at the end of the run. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { tableOf, type Row } from './table.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** The file to which each scenario appends its figures. */
    faultFigures: string;
  }
}

export default function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'fault-figures-'));
  const file = join(folder, 'figures.jsonl');
  writeFileSync(file, '');
  project.provide('faultFigures', file);
  return () => {
    const lines = readFileSync(file, 'utf8').split('\n');
    const rows = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Row);
    rmSync(folder, { recursive: true });
    if (rows.length > 0) console.log(`\n${tableOf(rows)}\n`);
  };
}
