// etcd.mjs [VERSION | SUITE]: prints the version and the file of an etcd.
// Without an argument: the one that the tests find. VERSION, such as 3.7.3: builds it from Go modules. SUITE, such as bookworm:
// fetches that of the Debian suite through apt. Both keep it in .cache/etcd.
import console from 'node:console';
import process from 'node:process';
import { etcdThroughApt } from '../tests/support/etcd/apt.ts';
import { etcdFromModules } from '../tests/support/etcd/modules.ts';
import { cacheDir, findEtcd } from '../tests/support/etcd/source.ts';

const [wanted] = process.argv.slice(2);
const path = process.env.PATH;
const { version, etcd } =
  wanted === undefined
    ? await findEtcd()
    : /^\d/.test(wanted)
      ? await etcdFromModules({ cacheDir, path, version: wanted })
      : await etcdThroughApt({ cacheDir, path, suites: [wanted] });
console.log(version, etcd);
