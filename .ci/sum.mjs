// sum.mjs FOLDER [FAILED-STEP...]: adds up the vitest reports (STEP.json) in FOLDER.
// A failed step without a failed test counts as one failure: lint, a test file that does not load, a missing or empty report.
// Prints each failed and each flaky test with its reason at the end, because a long log may be cut to its end.
import console from 'node:console';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import process from 'node:process';

const [folder, ...failedSteps] = process.argv.slice(2);
const failures = new Map(failedSteps.map((step) => [step, 0]));
const reasons = [];
const flaky = [];
let passed = 0;
for (const file of readdirSync(folder)) {
  const step = basename(file, '.json');
  const report = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  console.log(`${step}: ${report.numPassedTests} passed, ${report.numFailedTests} failed, ${report.numPendingTests} skipped`);
  passed += report.numPassedTests;
  for (const { name, message, assertionResults } of report.testResults) {
    const path = relative(process.cwd(), name);
    if (assertionResults.length === 0 && message) reasons.push(formatTest(`FAILED: ${step}: ${path}`, [message]));
    for (const { status, fullName, failureMessages } of assertionResults) {
      const test = `${step}: ${path}: ${fullName}`;
      if (status === 'failed') reasons.push(formatTest(`FAILED: ${test}`, failureMessages));
      // If the second try passes, vitest still lists the failure of the first.
      if (status === 'passed' && failureMessages.length > 0) flaky.push(formatTest(`  ${test}`, failureMessages));
    }
  }
  const isFaulty = !report.success || report.numFailedTests > 0 || report.numPassedTests === 0;
  if (isFaulty || failures.has(step)) failures.set(step, report.numFailedTests);
}
if (passed === 0) failures.set('no test ran', 0);
for (const step of failures.keys()) console.log(`FAILED: ${step}`);
for (const reason of reasons) console.log(reason);
if (flaky.length > 0) console.log(['Flaky (failed once, passed when repeated):', ...flaky].join('\n'));
const failed = [...failures.values()].reduce((sum, tests) => sum + Math.max(tests, 1), 0);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function formatTest(title, messages) {
  const lines = messages
    .join('\n')
    .split('\n')
    .filter((line) => !line.includes('/node_modules/vitest/'))
    .slice(0, 12);
  return [title, ...lines.map((line) => `    ${line.slice(0, 300)}`)].join('\n');
}
