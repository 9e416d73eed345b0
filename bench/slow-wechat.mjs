// slow-wechat.mjs PORT MILLISECONDS: WeChat, to whom every code is good and stands for a user of
// that name, after a while.

import { createServer } from 'node:net';

import { SESSION_KEY } from './servers.mjs';

const [port, milliseconds] = process.argv.slice(2).map(Number);

createServer({ noDelay: true }, (socket) => {
  socket.setEncoding('latin1').on('error', () => {});
  socket.on('data', (text) => {
    // A request is small and comes in one piece.
    const [, code] = /[?&]js_code=([^& ]*)/.exec(text);
    const body = JSON.stringify({ session_key: SESSION_KEY, openid: code });
    const answer = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    setTimeout(() => socket.write(answer), milliseconds);
  });
}).listen({ port, host: '127.0.0.1', backlog: 4096 });
