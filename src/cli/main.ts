#!/usr/bin/env node
/** The command `etcd-locker`: a user of the library as any other. */
import { createRequire } from 'node:module';
import { type Command, parseCommand } from './arguments.ts';
import { type Ending, endingOf } from './failures.ts';
import { helpText } from './help.ts';
import { catchUncaughtErrors } from './uncaught-errors.ts';
import { outliveReaders, write } from './output.ts';
import { run } from './run.ts';
import { show } from './show.ts';
import { finish } from './signals.ts';

function perform(command: Command): Promise<Ending> {
  switch (command.kind) {
    case 'help':
      return print(helpText(command.of));
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
    return endingOf(error);
  }
}

outliveReaders();
catchUncaughtErrors();
// They are for those who write programs; a certificate for an address, checked by grpc-js, causes one.
process.noDeprecation = true;
finish(await main());
