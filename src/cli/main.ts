#!/usr/bin/env node
/**
 * The entry point of the command `etcd-locker`.
 *
 * It looks for inherited file descriptors before it loads anything else: an import of 'node:util' or 'node:process' opens
 * descriptors of Node's own.
 */
import { findInheritedDescriptors } from './descriptors.ts';

const descriptors = findInheritedDescriptors();
const { start } = await import('./start.ts');
await start(descriptors);
