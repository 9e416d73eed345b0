// flood.mjs PORT|PATH CONNECTIONS SECONDS REQUEST: sends a request again and again, one at a time on
// each connection, over TCP or a Unix socket, which wrk cannot use. Prints what became of them as
// JSON, as requests.lua does. A process of its own: what is measured shares no event loop with it.

import { connect } from 'node:net';

import { answers } from './client.mjs';

const [target, connections, seconds, request] = process.argv.slice(2);
const address = /^\d+$/.test(target) ? { host: '127.0.0.1', port: Number(target) } : { path: target };

const end = performance.now() + Number(seconds) * 1000;
const started = performance.now();
let requests = 0, bytes = 0, errors = 0;

const worker = () => new Promise((resolve) => {
  const socket = connect({ ...address, noDelay: true }, () => socket.write(request)).setEncoding('latin1');
  let received = '', ended = false;
  socket.on('data', (chunk) => {
    received += chunk;
    const [answer] = answers(received);
    if (!answer) return;
    requests += 1;
    bytes += answer.end;
    received = '';
    if (performance.now() < end) return socket.write(request);
    ended = true;
    socket.destroy();
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    errors += ended ? 0 : 1;
    resolve();
  });
});

await Promise.all(Array.from({ length: Number(connections) }, worker));
const micros = Math.round((performance.now() - started) * 1000);
console.log(JSON.stringify({ requests, micros, bytes, p99: 0, errors }));
