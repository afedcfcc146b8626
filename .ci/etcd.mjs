// etcd.mjs [SUITE]: prints version and file of the etcd that the tests find, or of that of a Debian suite, fetched through apt.
import console from 'node:console';
import process from 'node:process';
import { etcdThroughApt } from '../tests/support/etcd/apt.ts';
import { cacheDir, findEtcd } from '../tests/support/etcd/source.ts';

const [suite] = process.argv.slice(2);
const { version, etcd } =
  suite === undefined ? await findEtcd() : await etcdThroughApt({ cacheDir, path: process.env.PATH, suites: [suite] });
console.log(version, etcd);
