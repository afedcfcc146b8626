#!/usr/bin/env node
/** The entry point of the command `etcd-locker`. It uses only the public API of the library. */
import { createRequire } from 'node:module';
import { type Command, parseCommand } from './arguments.ts';
import { type Ending, reportError } from './failures.ts';
import { helpText } from './help.ts';
import { catchUncaughtErrors } from './uncaught-errors.ts';
import { ignoreStreamErrors, write } from './output.ts';
import { run } from './run.ts';
import { show } from './show.ts';
import { endProcess } from './signals.ts';

function perform(command: Command): Promise<Ending> {
  switch (command.kind) {
    case 'help':
      return print(helpText(command.topic));
    case 'version':
      return print(`${(createRequire(import.meta.url)('etcd-locker/package.json') as { version: string }).version}\n`);
    case 'run':
      return run(command, process.env);
    default:
      return show(command);
  }
}

async function print(text: string): Promise<Ending> {
  await write(text);
  return { status: 0 };
}

async function main(): Promise<Ending> {
  try {
    return await perform(parseCommand(process.argv.slice(2), process.env));
  } catch (error) {
    return reportError(error);
  }
}

ignoreStreamErrors();
catchUncaughtErrors();
// Hides deprecation warnings from users of the command. grpc-js causes one when it checks a certificate for an IP address.
process.noDeprecation = true;
endProcess(await main());
