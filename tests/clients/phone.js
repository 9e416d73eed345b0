// The part of a phone that wafer-client-sdk needs: the global `wx`, backed by the WeChat simulator.

import { createRequire } from 'node:module';

/** A phone in the hands of one person; `wxLogin` gives what WeChat would give to that person's phone. */
export function createPhone(wxLogin) {
  const storage = new Map();
  const phone = { logins: 0, wx: undefined };
  let latest;

  phone.wx = {
    login({ success, fail }) {
      phone.logins += 1;
      wxLogin().then((answer) => {
        latest = answer;
        success({ code: answer.code });
      }, fail);
    },

    // The SDK asks for this in the callback of `wx.login`, so it belongs to the code just given.
    getUserInfo({ success }) {
      const { encryptedData, iv, rawData, signature } = latest;
      success({ encryptedData, iv, rawData, signature, userInfo: JSON.parse(rawData) });
    },

    // Succeeds whatever the status, as on a phone.
    request({ url, method, header, success, fail }) {
      fetch(url, { method, headers: header }).then(async (response) => ({
        statusCode: response.status,
        header: Object.fromEntries(response.headers),
        data: await response.json(),
      })).then(success, fail);
    },

    // On a phone this tells about WeChat's session key and nothing of a revoked session.
    checkSession: ({ success }) => success(),

    getStorageSync: (key) => storage.get(key) ?? '',
    setStorageSync: (key, value) => storage.set(key, value),
    removeStorageSync: (key) => storage.delete(key),

    // The SDK's tunnel registers with these when it is loaded.
    onSocketOpen() {},
    onSocketClose() {},
    onSocketMessage() {},
    onSocketError() {},
  };
  return phone;
}

/** Loads wafer-client-sdk on this phone: it touches `wx` when it is loaded, and once per process. */
export function loadClient(phone) {
  globalThis.wx = phone.wx;
  return createRequire(import.meta.url)('wafer-client-sdk');
}
