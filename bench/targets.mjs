// What is to be reached: the one place where the targets stand.
//
// A row has `most` (the value may be at most this) or `least` (at least this). With `against` the
// value is the ratio to what the other server did in the same round; otherwise it is an absolute
// number in `unit`.

export const ROWS = [
  {
    name: 'cpu-hot',
    title: () => 'auth, CPU a request: one hot session',
    unit: 'µs',
    against: 'nginx',
    most: 1.1,
    goal: 1.0,
  },
  {
    name: 'cpu-random',
    title: ({ cached }) => `auth, CPU a request: ${count(cached)} sessions in the cache, at random`,
    unit: 'µs',
    against: 'nginx',
    most: 1.25,
  },
  { name: 'rate-nginx', title: () => 'auth, requests a second', unit: '/s', against: 'nginx', least: 1.0 },
  { name: 'rate-redis', title: () => 'auth, requests a second', unit: '/s', against: 'redis GET', least: 1.0 },
  {
    name: 'socket',
    title: () => 'auth over the Unix socket, CPU a request',
    unit: 'µs',
    against: 'nginx over its own',
    most: 1.05,
  },
  {
    name: 'pipelined',
    title: () => 'auth, 16 in one write, CPU a request',
    unit: 'µs',
    against: 'one by one',
    most: 0.5,
  },
  {
    name: 'forward-auth',
    title: () => 'forward-auth, CPU a request',
    unit: 'µs',
    against: 'nginx with five headers',
    most: 1.1,
  },
  {
    name: 'behind-nginx',
    title: () => 'nginx that asks us, requests a second',
    unit: '/s',
    against: 'asking nginx',
    least: 0.95,
  },
  {
    name: 'connections',
    title: () => 'auth, a new connection each time, requests a second',
    unit: '/s',
    against: 'nginx',
    least: 1.0,
  },
  { name: 'p99', title: () => 'auth, p99 at 64 connections', unit: 'ms', against: 'nginx', most: 1.3 },
  {
    name: 'p99-logins',
    title: () => 'auth, p99 beside 200 logins a second',
    unit: 'ms',
    against: 'nginx',
    most: 2.0,
  },
  { name: 'logins-sqlite', title: () => 'logins a second, SQLite', unit: '/s', least: 8_000 },
  { name: 'logins-mariadb', title: () => 'logins a second, MariaDB', unit: '/s', least: 2_500 },
  {
    name: 'stored',
    title: ({ stored }) => `auth of ${count(stored)} stored sessions, at random, requests a second`,
    unit: '/s',
    least: 30_000,
  },
  {
    name: 'memory',
    title: ({ cached }) => `memory a session: ${count(cached)} with 350-byte profiles`,
    unit: 'bytes',
    most: 600,
  },
  {
    name: 'memory-minimal',
    title: ({ minimal }) => `memory a session: ${count(minimal)} that showed no profile`,
    unit: 'bytes',
    most: 250,
  },
  ...[64, 256].map((mebibytes) => ({
    name: `budget-${mebibytes}`,
    title: () => `memory of a full cache of ${mebibytes} MiB`,
    unit: 'MiB',
    against: 'budget',
    most: 1.05,
  })),
  { name: 'idle', title: () => 'idle process, RSS', unit: 'MiB', most: 15 },
  {
    name: 'start',
    title: ({ stored }) => `start to first answer with ${count(stored)} stored sessions`,
    unit: 'ms',
    most: 100,
  },
];

/** 1,000,000 as "1 million". */
export function count(n) {
  return n >= 1e6 ? `${n / 1e6} million` : n.toLocaleString('en');
}
