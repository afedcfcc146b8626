/**
 * Asks for the current credentials, or for the current user.
 *
 * The options `credentials` and `auth` may be functions, because certificates and passwords change while a locker runs. A function
 * that fails, or returns nothing usable, or takes too long, counts as a failure of the host and is retried. Its error goes no
 * further than its message, because its other properties may contain secrets.
 */
import { findCredentialIssues } from '../../options/credentials.ts';
import type { Auth, Credentials } from '../../options/options.ts';
import { findAuthIssues } from '../../options/secrets.ts';
import { CallFailure, status } from './call-failure.ts';

type Given<T> = T | (() => T | Promise<T>);

const rules = { credentials: findCredentialIssues, auth: findAuthIssues };

/** @throws {CallFailure} the function failed, or returned nothing usable within `timeoutMs` */
export async function askCredentials(given: Given<Credentials>, timeoutMs: number): Promise<Credentials> {
  return typeof given === 'function' ? ask('credentials', given, timeoutMs) : given;
}

/** @throws {CallFailure} the function failed, or returned nothing usable within `timeoutMs` */
export async function askAuth(given: Given<Auth>, timeoutMs: number): Promise<Auth> {
  return typeof given === 'function' ? ask('auth', given, timeoutMs) : given;
}

async function ask<T>(option: keyof typeof rules, given: () => T | Promise<T>, timeoutMs: number): Promise<T> {
  const failed = (words: string): CallFailure => new CallFailure(status.unavailable, `the function ${option} ${words}`);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(failed(`returned nothing within ${String(Math.round(timeoutMs))} ms`));
    }, timeoutMs).unref();
  });
  try {
    const result = await Promise.race([call(given, failed), late]);
    const issues = rules[option](result).map(
      ({ path, message }) => `${[option, path].filter((part) => part !== '').join('.')}: ${message}`,
    );
    if (issues.length > 0) throw failed(`returned a wrong value: ${issues.join('; ')}`);
    return result;
  } finally {
    clearTimeout(timer);
  }
}

async function call<T>(given: () => T | Promise<T>, failed: (words: string) => CallFailure): Promise<T> {
  try {
    return await given();
  } catch (error) {
    throw failed(`failed: ${error instanceof Error ? error.message : String(error)}`);
  }
}
