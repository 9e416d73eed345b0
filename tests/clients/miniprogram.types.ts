// What a mini program in TypeScript writes, with the types of WeChat's own `wx`.

import { create } from '../../clients/miniprogram/index.js';

const client = create({ baseUrl: 'https://api.example.com' });
create({ baseUrl: 'https://api.example.com', wx, storageKey: 'shop' });

interface Order {
  id: number;
}

async function main(): Promise<void> {
  const { data, statusCode } = await client.request<{ orders: Order[] }>({ url: '/orders', method: 'POST', data: {} });
  const id: number = statusCode === 200 ? data.orders[0].id : 0;
  const { openid, unionid } = await client.session();
  const who: string = openid + (unionid ?? '') + id;
  wx.connectSocket({ url: `wss://api.example.com/${who}`, header: await client.header() });
  const uploading = client.uploadFile({ url: '/files', filePath: 'a', name: 'file' });
  uploading.abort();
  const { tempFilePath } = await client.downloadFile({ url: '/files/a' });
  console.log(tempFilePath);
  const { phoneNumber, countryCode } = await client.phone('a code');
  console.log(countryCode + phoneNumber);
  await client.login();
  await client.logout();
  // @ts-expect-error: a URL is wanted
  client.request({});
}

void main;
