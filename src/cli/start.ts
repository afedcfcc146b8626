/** Performs the command line and ends this process. It uses only the public API of the library. */
import { createRequire } from 'node:module';
import { breakHolders } from './break.ts';
import { type Command, parseCommand } from './arguments.ts';
import { findChangedArguments, findChangedVariables } from './encoding.ts';
import { type Ending, reportError } from './failures.ts';
import { helpText } from './help.ts';
import { catchUncaughtErrors } from './uncaught-errors.ts';
import { ignoreStreamErrors, write } from './output.ts';
import { run } from './run.ts';
import { show } from './show.ts';
import { endProcess } from './signals.ts';

function perform(command: Command, descriptors: readonly number[]): Promise<Ending> {
  switch (command.kind) {
    case 'help':
      return print(helpText(command.topic));
    case 'version':
      return print(`${(createRequire(import.meta.url)('etcd-locker/package.json') as { version: string }).version}\n`);
    case 'run':
      return run(command, { env: process.env, descriptors });
    case 'break':
      return breakHolders(command);
    default:
      return show(command);
  }
}

async function print(text: string): Promise<Ending> {
  await write(text);
  return { status: 0 };
}

async function main(descriptors: readonly number[]): Promise<Ending> {
  try {
    const argv = process.argv.slice(2);
    const changed = { arguments: findChangedArguments(argv), variables: findChangedVariables(process.env) };
    return await perform(parseCommand(argv, process.env, changed), descriptors);
  } catch (error) {
    return reportError(error);
  }
}

/** `descriptors` are the file descriptors from 3 on that COMMAND gets. */
export async function start(descriptors: readonly number[]): Promise<void> {
  ignoreStreamErrors();
  catchUncaughtErrors();
  // Hides deprecation warnings from users of the command. grpc-js causes one when it checks a certificate for an IP address.
  process.noDeprecation = true;
  endProcess(await main(descriptors));
}
