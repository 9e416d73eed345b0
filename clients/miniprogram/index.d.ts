/** Who is logged in: the answer of `POST /v1/login`. */
export interface Session {
  token: string;
  /** Seconds. */
  expires_in: number;
  is_new: boolean;
  appid: string;
  openid: string;
  unionid?: string;
  profile: Record<string, unknown>;
}

/** A phone number: the answer of `POST /v1/phone`. */
export interface PhoneNumber {
  /** With the country code where it is not China's. */
  phoneNumber: string;
  purePhoneNumber: string;
  countryCode: string;
}

/** What goes wrong; `errMsg` is that of `wx` where `wx` failed. */
export interface Failure extends Error {
  errMsg: string;
  /** The server's answer, where there is one. */
  response?: { statusCode: number; data: unknown };
}

/** What the client needs of `wx`; `uni` of uni-app and Taro have it too. */
export interface Platform {
  login(options: any): any;
  request(options: any): any;
  uploadFile?(options: any): any;
  downloadFile?(options: any): any;
  getStorageSync(key: string): any;
  setStorageSync(key: string, data: any): void;
  removeStorageSync(key: string): void;
  getAccountInfoSync?(): any;
}

export interface Options {
  /** Where the server is, such as `https://api.example.com`. The token goes nowhere else. */
  baseUrl: string;
  /** `uni` or `Taro`; `wx` when absent. */
  wx?: Platform;
  /** What the session is stored under, for programs with several clients. */
  storageKey?: string;
}

/** A promise of a call that can still be aborted. */
export interface Pending<T> extends Promise<T> {
  abort(): void;
}

type RequestData = string | WechatMiniprogram.IAnyObject | ArrayBuffer;

export interface Client {
  /** Logs in, whether or not somebody is logged in; callers at the same time share one login. */
  login(): Promise<Session>;
  /** Who is logged in; logs in where nobody is. */
  session(): Promise<Session>;
  /** The headers for a request that is made by hand, such as `wx.connectSocket`. */
  header(): Promise<{ Authorization: string }>;
  /**
   * The number behind the code of `<button open-type="getPhoneNumber">`; the server wants `api.phone`. A code is good
   * once, so nothing is tried again after a failure.
   */
  phone(code: string): Promise<PhoneNumber>;
  /** Ends the session, here and on the server. */
  logout(): Promise<void>;
  /** `wx.request`, with the session; a relative `url` is below `baseUrl`. */
  request<T extends RequestData = WechatMiniprogram.IAnyObject>(
    options: WechatMiniprogram.RequestOption<T>,
  ): Pending<WechatMiniprogram.RequestSuccessCallbackResult<T>>;
  uploadFile(
    options: WechatMiniprogram.UploadFileOption,
  ): Pending<WechatMiniprogram.UploadFileSuccessCallbackResult>;
  downloadFile(
    options: WechatMiniprogram.DownloadFileOption,
  ): Pending<WechatMiniprogram.DownloadFileSuccessCallbackResult>;
}

/** Creates a client. Make one, when the program starts, and share it. */
export function create(options: Options): Client;
