// Requests that need no measuring: a probe, a pass through all sessions, a slow stream of logins.

import { once } from 'node:events';
import { openSync, readSync, closeSync } from 'node:fs';
import { connect } from 'node:net';

const LIMIT_MS = 10_000;
const END_OF_HEAD = '\r\n\r\n';

export const SESSION_BYTES = 65; // id, skey, line feed

/** The body of a check. `session` is id and skey, one after the other. */
export function auth(session) {
  return body('qcloud.cam.auth', { id: session.slice(0, 32), skey: session.slice(32, 64) });
}

/** The body of a login. */
export function login(code, { encrypted, iv }) {
  return body('qcloud.cam.id_skey', { code, encrypt_data: encrypted, iv });
}

function body(interfaceName, para) {
  return JSON.stringify({ version: 1, componentName: 'MA', interface: { interfaceName, para } });
}

/** A request with this body, as it goes over the wire. */
export function request(text, close = false) {
  const connection = close ? 'Connection: close\r\n' : '';
  return `POST /mina_auth/ HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n`
    + `Content-Type: application/json\r\nContent-Length: ${text.length}\r\n${connection}\r\n${text}`;
}

/** A proxy's question whose this session is, as it goes over the wire. */
export function forwardAuth(session) {
  const token = `${session.slice(0, 32)}.${session.slice(32, 64)}`;
  return `GET /v1/forward-auth HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\n\r\n`;
}

/** Sends the body of one request; resolves to the answer's body and its bytes on the wire. */
export function probe(port, text, { close = false } = {}) {
  return send(port, request(text, close));
}

/** Sends one request; resolves to the answer's head, its body and its bytes on the wire. */
export async function send(port, bytes) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.setTimeout(LIMIT_MS, () => socket.destroy(new Error('no answer to a probe')));
  socket.setEncoding('latin1').write(bytes);
  let received = '';
  try {
    for await (const chunk of socket) {
      received += chunk;
      const [answer] = answers(received);
      if (answer) return { head: answer.head, text: answer.text, bytes: answer.end };
    }
  } finally {
    socket.destroy();
  }
  throw new Error('the connection of a probe was closed without an answer');
}

/** Finds the whole answers in what was received. */
export function* answers(received) {
  for (let at = 0; ;) {
    const head = received.indexOf(END_OF_HEAD, at);
    if (head < 0) return;
    const length = Number(/content-length: (\d+)/i.exec(received.slice(at, head))[1]);
    const end = head + END_OF_HEAD.length + length;
    if (end > received.length) return;
    yield { head: received.slice(at, head), text: received.slice(head + END_OF_HEAD.length, end), end };
    at = end;
  }
}

/** Checks every session of a file once; throws unless all are valid. */
export async function checkAll(port, file, count) {
  const CONNECTIONS = 16, BATCH = 64;
  const sessions = openSync(file, 'r');
  let next = 0;
  const worker = async () => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1');
    socket.setTimeout(LIMIT_MS, () => socket.destroy(new Error('no answer to a check')));
    try {
      await once(socket, 'connect');
      while (next < count) {
        const size = Math.min(BATCH, count - next);
        const records = Buffer.alloc(size * SESSION_BYTES);
        readSync(sessions, records, 0, records.length, next * SESSION_BYTES);
        next += size;
        const lines = records.toString('latin1').split('\n', size);
        socket.write(lines.map((session) => request(auth(session))).join(''));
        for (let valid = 0, received = ''; valid < size;) {
          received += (await once(socket, 'data'))[0];
          let used = 0;
          for (const answer of answers(received)) {
            if (!answer.text.startsWith('{"returnCode":0,')) throw new Error(`a check failed: ${answer.text}`);
            valid += 1;
            used = answer.end;
          }
          received = received.slice(used);
        }
      }
    } finally {
      socket.destroy();
    }
  };
  try {
    await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  } finally {
    closeSync(sessions);
  }
}

/** Logs in `rate` new users a second until `stop`, which throws unless they kept pace. */
export function steadyLogins(port, rate, run, data) {
  const sockets = Array.from({ length: 8 }, () => connect({ port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1'));
  let sent = 0, valid = 0, failure;
  for (const socket of sockets) {
    let received = '';
    socket.on('error', (error) => { failure ??= error; });
    socket.on('data', (chunk) => {
      received += chunk;
      let used = 0;
      for (const answer of answers(received)) {
        if (answer.text.startsWith('{"returnCode":0,')) valid += 1;
        else failure ??= new Error(`a login failed: ${answer.text}`);
        used = answer.end;
      }
      received = received.slice(used);
    });
  }
  const started = performance.now();
  const timer = setInterval(() => {
    const due = Math.floor((performance.now() - started) / 1000 * rate);
    for (; sent < due; sent += 1) {
      const code = `p${String(run).padStart(9, '0')}${String(sent).padStart(18, '0')}`;
      sockets[sent % sockets.length].write(request(login(code, data)));
    }
  }, 1000 / rate);
  return {
    stop: async () => {
      clearInterval(timer);
      for (const until = performance.now() + LIMIT_MS; valid < sent && !failure && performance.now() < until;) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      for (const socket of sockets) socket.destroy();
      const seconds = (performance.now() - started) / 1000;
      if (failure) throw failure;
      if (valid < sent || sent < 0.9 * rate * seconds) {
        throw new Error(`${valid} of ${sent} logins in ${seconds.toFixed(1)} s, ${rate} a second were due`);
      }
    },
  };
}
