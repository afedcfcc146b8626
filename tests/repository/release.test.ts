/** Tests of the release workflow, and of the facts in package.json that a release needs. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const read = (path: string): string => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8');

const workflow = read('.github/workflows/release.yml');
const manifest = JSON.parse(read('package.json')) as Record<string, unknown> & { scripts: Record<string, string>; keywords: string[] };
const [head = '', testJob = '', publishJob = ''] = workflow.split(/^ {2}(?:test|publish):$/m);

test('the release workflow runs scripts of package.json, and publishes what was tested with provenance', () => {
  const scripts = [...workflow.matchAll(/npm run ([\w:]+)/g)].map(([, script = '']) => script);

  expect(scripts.filter((script) => !(script in manifest.scripts))).toEqual([]);
  expect(testJob).toContain('- run: npm test\n');
  expect(publishJob).toContain('needs: test\n');
  expect(publishJob).toContain('- run: npm publish --provenance --access public\n');
});

test('the release workflow lets only the job that publishes ask for an identity', () => {
  expect(head).toContain('permissions:\n  contents: read\n');
  expect(head + testJob).not.toContain('id-token');
  expect(publishJob).toContain('id-token: write');
});

test('the release workflow uses actions of GitHub alone, each by its major version', () => {
  const uses = [...workflow.matchAll(/uses: (\S+)/g)].map(([, action = '']) => action);

  expect(uses.length).toBeGreaterThan(3);
  expect(uses.filter((action) => !/^actions\/[\w-]+@v\d+$/.test(action))).toEqual([]);
});

test('package.json has distinct keywords, and CONTRIBUTING.md says what the publisher has to add', () => {
  const missing = ['repository', 'homepage', 'bugs'].filter((field) => manifest[field] === undefined);

  expect(new Set(manifest.keywords).size).toBe(manifest.keywords.length);
  for (const field of missing) expect(read('CONTRIBUTING.md')).toMatch(new RegExp(`^- .*\`${field}\`.*package\\.json`, 'm'));
});
