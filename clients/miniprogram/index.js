// The client of Mina Auth for mini programs. ES2015, no dependency: it may be copied as it is.

'use strict';

/** The code that a login was made with is good for nothing: a new one may be. */
const CODE_REFUSED = 40029;

/** Creates a client; see README.md. */
exports.create = function create(options) {
  const api = options.wx || wx;
  const baseUrl = options.baseUrl.replace(/\/+$/, '');
  const key = [options.storageKey || 'mina-auth', environment(api), baseUrl].join(' ');
  let session = read();
  let loggingIn = null;

  /** What was stored; `null` when there is nothing of use. */
  function read() {
    try {
      const stored = api.getStorageSync(key);
      return stored && stored.token ? stored : null;
    } catch (error) {
      return null;
    }
  }

  /** Keeps a session, or forgets it. Where storage fails, memory is enough until the next start. */
  function keep(newest) {
    session = newest;
    try {
      if (newest) api.setStorageSync(key, newest);
      else api.removeStorageSync(key);
    } catch (error) {
      // It may be full, or switched off.
    }
  }

  /** One login at a time, however many want one. */
  function login() {
    if (!loggingIn) {
      const done = () => { loggingIn = null; };
      loggingIn = exchange(true);
      loggingIn.then(done, done);
    }
    return loggingIn;
  }

  function exchange(again) {
    return call(api, 'login', {})
      .then(({ code }) => send('POST', '/v1/login', { code }))
      .then((response) => {
        const answer = response.data || {};
        if (response.statusCode === 200 && answer.token) {
          keep(answer);
          return answer;
        }
        // A code is used once, and may have been used by a request whose answer got lost.
        if (again && answer.code === CODE_REFUSED) return exchange(false);
        throw failure(`the login failed with status ${response.statusCode}: ${answer.detail || 'no reason given'}`, response);
      });
  }

  function send(method, path, data, header) {
    return call(api, 'request', { url: baseUrl + path, method, data, header: header || {} });
  }

  /** The session, logging in where there is none. */
  function current() {
    return session ? Promise.resolve(session) : login();
  }

  /** The session after `refused` was refused: another request may have logged in meanwhile. */
  function renewed(refused) {
    if (session && session.token !== refused.token) return Promise.resolve(session);
    return login();
  }

  /** Calls a function of `wx` with the token, and once more with a new one when it is refused. */
  function withSession(name, wanted) {
    const task = { aborted: false, current: null };
    const attempt = (used) => {
      if (task.aborted) throw failure(`${name}:fail abort`);
      const prepared = prepare(wanted, used);
      return call(api, name, prepared, (started) => { task.current = started; });
    };
    const answered = current().then((used) => attempt(used).then((response) => {
      if (response.statusCode !== 401 || !isOurs(wanted.url)) return response;
      return renewed(used).then(attempt);
    }));
    answered.abort = () => {
      task.aborted = true;
      if (task.current && task.current.abort) task.current.abort();
    };
    tell(answered, wanted);
    return answered;
  }

  /** The options of a call, with the whole URL and the token, which is for the base URL alone. */
  function prepare(wanted, used) {
    const url = /^https?:\/\//i.test(wanted.url) ? wanted.url : `${baseUrl}/${wanted.url.replace(/^\/+/, '')}`;
    const header = isOurs(wanted.url) ? Object.assign({}, wanted.header, bearer(used)) : wanted.header;
    return Object.assign({}, wanted, { url, header });
  }

  function isOurs(url) {
    return !/^https?:\/\//i.test(url) || url === baseUrl || url.indexOf(`${baseUrl}/`) === 0;
  }

  return {
    login,
    /** Resolves with who is logged in; asks nobody where that is known. */
    session: current,
    /** Resolves with the headers of a request that is made by hand, such as `wx.connectSocket`. */
    header: () => current().then(bearer),
    request: (wanted) => withSession('request', wanted),
    uploadFile: (wanted) => withSession('uploadFile', wanted),
    downloadFile: (wanted) => withSession('downloadFile', wanted),
    /** Resolves with the number behind the code that the phone button gave. */
    phone: (code) => withSession('request', { url: '/v1/phone', method: 'POST', data: { code } }).then((response) => {
      if (response.statusCode === 200) return response.data;
      const { detail } = response.data || {};
      throw failure(`no phone number, status ${response.statusCode}: ${detail || 'no reason given'}`, response);
    }),
    /** Ends the session here at once, and on the server if that can be reached. */
    logout() {
      const ended = session;
      keep(null);
      if (!ended) return Promise.resolve();
      return send('DELETE', '/v1/session', undefined, bearer(ended)).then((response) => {
        if (response.statusCode !== 204 && response.statusCode !== 401) {
          throw failure(`the logout failed with status ${response.statusCode}`, response);
        }
      });
    },
  };
};

function bearer(session) {
  return { Authorization: `Bearer ${session.token}` };
}

/** develop, trial or release: their sessions are kept apart, as their servers may be. */
function environment(api) {
  try {
    return api.getAccountInfoSync().miniProgram.envVersion || 'release';
  } catch (error) {
    return 'release';
  }
}

function failure(message, response) {
  const error = new Error(message);
  error.errMsg = message;
  if (response) error.response = response;
  return error;
}

/** Calls a function of `wx` with callbacks, which every base library and look-alike has. */
function call(api, name, options, started) {
  return new Promise((resolve, reject) => {
    const fail = (reason) => {
      const message = (reason && (reason.errMsg || reason.message)) || `${name}:fail`;
      reject(Object.assign(failure(message), reason));
    };
    const task = api[name](Object.assign({}, options, { success: resolve, fail, complete: undefined }));
    // Taro returns a promise as well, which has said the same by then.
    if (task && task.then) task.then(resolve, fail);
    if (started) started(task);
  });
}

/** Calls back whoever passed callbacks, as `wx.request` does. */
function tell(answered, { success, fail, complete }) {
  const both = (first) => (result) => {
    if (first) first(result);
    if (complete) complete(result);
  };
  if (success || fail || complete) answered.then(both(success), both(fail));
}
