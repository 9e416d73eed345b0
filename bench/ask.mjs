// ask.mjs PORT RATE SECONDS [SESSION]: so many requests a second, whether they are answered or not:
// checks of the session (id and skey, one after the other), or logins of new users. Prints what
// became of them as JSON. A process of its own: it is not to wait for what else is measured.

import { connect } from 'node:net';

import { answers, auth, login, request } from './client.mjs';
import { userData } from './servers.mjs';

const ANSWERED_WITHIN_MS = 20_000;

const [port, rate, seconds] = process.argv.slice(2, 5).map(Number);
const session = process.argv[5];
const data = userData();
const run = `${process.pid}-${Date.now()}-`;

const times = { valid: [], refused: [] };
const idle = [];
let asked = 0, open = 0;

function next() {
  return request(session ? auth(session) : login(run + asked, data));
}

/** Sends a request on a connection that waits for nothing. */
function ask() {
  const connection = idle.pop() ?? newConnection();
  connection.asked = performance.now();
  connection.write(next());
  asked += 1;
  open += 1;
}

function newConnection() {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1');
  let received = '';
  socket.on('data', (text) => {
    received += text;
    const [answer] = answers(received);
    if (!answer) return;
    received = '';
    const valid = answer.text.startsWith('{"returnCode":0,');
    times[valid ? 'valid' : 'refused'].push(performance.now() - socket.asked);
    socket.asked = undefined;
    open -= 1;
    idle.push(socket);
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    const at = idle.indexOf(socket);
    if (at >= 0) idle.splice(at, 1);
    // It had no answer and will have none.
    if (socket.asked !== undefined) open -= 1;
  });
  return socket;
}

function summary(times) {
  const sorted = times.sort((a, b) => a - b);
  return { count: sorted.length, p50: sorted[Math.floor(sorted.length * 0.5)], p99: sorted[Math.floor(sorted.length * 0.99)] };
}

const started = performance.now();
const timer = setInterval(() => {
  const due = Math.min(seconds, (performance.now() - started) / 1000) * rate;
  while (asked < due) ask();
  if (asked >= seconds * rate) {
    clearInterval(timer);
    finish();
  }
}, 1);

function finish() {
  const wait = setInterval(() => {
    if (open > 0 && performance.now() - started < seconds * 1000 + ANSWERED_WITHIN_MS) return;
    clearInterval(wait);
    console.log(JSON.stringify({ asked, valid: summary(times.valid), refused: summary(times.refused) }));
    process.exit(0);
  }, 10);
}
