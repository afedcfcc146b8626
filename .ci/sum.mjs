// sum.mjs FOLDER [FAILED-STEP...]: adds up the vitest reports (STEP.json) in a folder. A step that failed without a failed test
// (lint, a test file that does not load, no report at all, not one test in it) counts as one failure. Each failed test is named
// here once more, with the reason, as a long run may be kept by its end alone.
import console from 'node:console';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import process from 'node:process';

const [folder, ...failedSteps] = process.argv.slice(2);
const failures = new Map(failedSteps.map((step) => [step, 0]));
const reasons = [];
let passed = 0;
for (const file of readdirSync(folder)) {
  const step = basename(file, '.json');
  const report = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  console.log(`${step}: ${report.numPassedTests} passed, ${report.numFailedTests} failed, ${report.numPendingTests} skipped`);
  passed += report.numPassedTests;
  for (const { name, message, assertionResults } of report.testResults) {
    if (assertionResults.length === 0 && message) reasons.push(reasonOf(step, name, [message]));
    for (const { status, fullName, failureMessages } of assertionResults) {
      if (status === 'failed') reasons.push(reasonOf(step, `${name}: ${fullName}`, failureMessages));
    }
  }
  const isFaulty = !report.success || report.numFailedTests > 0 || report.numPassedTests === 0;
  if (isFaulty || failures.has(step)) failures.set(step, report.numFailedTests);
}
if (passed === 0) failures.set('no test ran', 0);
for (const step of failures.keys()) console.log(`FAILED: ${step}`);
for (const reason of reasons) console.log(reason);
const failed = [...failures.values()].reduce((sum, tests) => sum + Math.max(tests, 1), 0);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function reasonOf(step, what, messages) {
  const lines = messages.join('\n').split('\n').slice(0, 12);
  return [`FAILED: ${step}: ${what}`, ...lines.map((line) => `    ${line.slice(0, 300)}`)].join('\n');
}
