// A business server as its developer writes it: qcloud-weapp-server-sdk logs in and checks, nothing else.

import { once } from 'node:events';
import http from 'node:http';

import sdk from 'qcloud-weapp-server-sdk';

/** Starts the business server; it has no session server until `useAuth` names one. */
export async function startBusiness() {
  // What the SDK gave to the business code, which the phone does not see: [{ path, userInfo | error, message }].
  const calls = [];

  const server = http.createServer(async (req, res) => {
    const service = sdk.LoginService.create(req, res);
    try {
      if (req.url === '/login') {
        const { userInfo } = await service.login();
        calls.push({ path: req.url, userInfo });
      } else {
        const { userInfo } = await service.check();
        calls.push({ path: req.url, userInfo });
        service.writeJsonResult({ userInfo });
      }
    } catch (error) {
      // The SDK has answered the phone by the time it throws one of its own.
      if (!(error instanceof sdk.LoginServiceError)) throw error;
      calls.push({ path: req.url, error: error.type, message: error.message });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;

  const get = async (path, headers) => (await fetch(url + path, { headers })).json();

  return {
    url,
    calls,

    /** The SDK keeps this for the whole process: there is one session server at a time. */
    useAuth: (authUrl) => sdk.config({ AuthServerUrl: authUrl, NetworkTimeout: 10_000 }),

    /** Logs in with what the phone gave, as the client SDK would. */
    login: ({ code, encryptedData, iv }) =>
      get('/login', { 'X-WX-Code': code, 'X-WX-Encrypted-Data': encryptedData, 'X-WX-IV': iv }),

    /** Makes a request under this session, as the client SDK would. */
    user: ({ id, skey }) => get('/user', { 'X-WX-Id': id, 'X-WX-Skey': skey }),

    stop: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
