// crowd.mjs PORT IDLE SLOW: so many connections that send nothing, and so many that send a request
// at a byte a second; what the server closes is opened again. A process of its own, since each
// connection is a file. Ends when it is told to.

import { connect } from 'node:net';

import { request } from './client.mjs';

const OPENED_AT_ONCE = 200;

const [port, idle, slow] = process.argv.slice(2).map(Number);
// Half of them dawdle over the head, the others over the body.
const bytes = request('x'.repeat(1000));
const bodyAt = bytes.indexOf('\r\n\r\n') + 4;

const writers = new Map();
setInterval(() => {
  for (const [socket, sent] of writers) {
    socket.write(bytes[sent % bytes.length]);
    writers.set(socket, sent + 1);
  }
}, 1000);

function open(number) {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('connect', () => {
    if (number < idle) return;
    const sent = number % 2 ? bodyAt : 1;
    socket.write(bytes.slice(0, sent));
    writers.set(socket, sent);
  });
  // A refusal is read, and the end of the connection seen.
  socket.on('error', () => {}).resume();
  socket.on('close', () => {
    writers.delete(socket);
    setTimeout(open, 100, number);
  });
}

// Not all in one go: the queue of a listening socket is shorter.
let opened = 0;
const opening = setInterval(() => {
  for (let i = 0; i < OPENED_AT_ONCE; i += 1) {
    if (opened === idle + slow) return clearInterval(opening);
    open(opened);
    opened += 1;
  }
}, 50);
