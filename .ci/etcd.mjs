// etcd.mjs [SUITE]: prints the version and the file of the etcd that the tests find.
// With SUITE: fetches the etcd of that Debian suite through apt, and prints its version and file.
import console from 'node:console';
import process from 'node:process';
import { etcdThroughApt } from '../tests/support/etcd/apt.ts';
import { cacheDir, findEtcd } from '../tests/support/etcd/source.ts';

const [suite] = process.argv.slice(2);
const { version, etcd } =
  suite === undefined ? await findEtcd() : await etcdThroughApt({ cacheDir, path: process.env.PATH, suites: [suite] });
console.log(version, etcd);
