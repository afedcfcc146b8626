/** Tests the errors of a process that cannot load etcd3 or grpc-js. */
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { TestProcess } from '../support/run/processes.ts';

const script = fileURLToPath(new URL('workers/use.ts', import.meta.url));

describe('a process that cannot load its client', () => {
  test.each([
    ['code generation from strings is disallowed', ['--disallow-code-generation-from-strings'], /Code generation from strings disallowed/],
    [
      'a file of etcd3 is missing',
      [
        '--import',
        `data:text/javascript,${encodeURIComponent(
          "import fs from 'node:fs'; import { syncBuiltinESMExports } from 'node:module'; const read = fs.readFileSync;" +
            "fs.readFileSync = (file, ...rest) => read(String(file).endsWith('rpc.proto') ? '/nonexistent/rpc.proto' : file, ...rest); syncBuiltinESMExports();",
        )}`,
      ],
      /ENOENT.*rpc\.proto/,
    ],
  ])('rejects every call at once with a ClientLoadError when %s', async (_, flags, cause) => {
    await using child = new TestProcess(process.execPath, [...flags, script], { ...process.env, OPTIONS: '{}' });

    expect(await child.ended).toMatchObject({ code: 0 });

    expect(child.steps.map(({ step }) => step)).toEqual(['lock', 'tryLock', 'lockAll', 'inspect', 'list', 'watch', 'done']);
    for (const { step, code, message, cause: found, ms } of child.steps.slice(0, -1)) {
      expect({ step, code }).toEqual({ step, code: 'CLIENT_LOAD' });
      expect(message).toMatch(/^Cannot load the packages etcd3 and @grpc\/grpc-js: /);
      expect(found).toMatch(cause);
      // Much less than requestTimeoutMs. The first load takes 100 ms.
      expect(ms).toBeLessThan(2_500);
    }
  });
});
