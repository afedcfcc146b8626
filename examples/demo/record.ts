/** `npm run demo:record`: runs the demo, and draws the run into docs/demo.svg. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { drawRecording, type Recording } from './picture.ts';

const demo = spawn(process.execPath, [fileURLToPath(new URL('demo.ts', import.meta.url))], {
  stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined },
  serialization: 'advanced',
});
let output = '';
demo.stdout?.setEncoding('utf8').on('data', (text: string) => {
  output += text;
  process.stdout.write(text);
});
let holds: Recording['holds'] = [];
demo.on('message', (message) => {
  holds = message as Recording['holds'];
});
const [code] = (await once(demo, 'close')) as [number | null];
if (code === 0) {
  const [, version = ''] = /^Using (etcd \S+)/.exec(output) ?? [];
  const report = output.slice(output.lastIndexOf('\n\n')).split('\n').filter(Boolean);
  await writeFile(new URL('../../docs/demo.svg', import.meta.url), drawRecording({ etcd: version, holds, report }));
}
process.exitCode = code ?? 1;
