/** Finds a Node on PATH whose version differs from the one that the project installs. */
import { execFile } from 'node:child_process';
import { delimiter, join, sep } from 'node:path';
import { promisify } from 'node:util';
import { onPath } from '../etcd/binary.ts';

export interface OtherNode {
  /** For example 'v20.20.2'. */
  readonly version: string;
  readonly file: string;
}

export async function findOtherNode(): Promise<OtherNode | null> {
  const ours = join('node_modules', '.bin');
  const folders = (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((folder) => !folder.split(sep).join('/').endsWith(ours.split(sep).join('/')));
  const file = await onPath('node', folders.join(delimiter));
  if (file === null) return null;
  const { stdout } = await promisify(execFile)(file, ['--version']);
  const version = stdout.trim();
  return version === process.version ? null : { version, file };
}
