'use strict';
// usage: node service_calls.js CONNECTION-STRING < calls
//
// Runs calls of the unmodified operators' SDK one after the other. A line of stdin is
// {"call": METHOD, "args": [...]}, or {"query": METHOD, "args": [...], "plain": BOOL} for one that
// makes a query, which is then read to its end: plain by next() without the token, as the SDK's
// sample does. Each line of stdout is {"result": ...} or {"error": {...}}.
const readline = require('readline');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');

const client = ProvisioningServiceClient.fromConnectionString(process.argv[2]);

// With a callback: the promise form of runBulkEnrollmentOperation never settles.
function call(method, args) {
  return new Promise((resolve, reject) => {
    client[method](...args, (err, result, response) => {
      if (err) {
        reject(err);
      } else {
        resolve({ result, status: response && response.statusCode });
      }
    });
  });
}

// The promise form of next() without the token would never send it.
async function readAll(method, args, plain) {
  const query = client[method](...args);
  const pages = [];
  do {
    pages.push(await new Promise((resolve, reject) => {
      const words = plain ? [] : [query.continuationToken];
      query.next(...words, (err, rows) => (err ? reject(err) : resolve(rows)));
    }));
  } while (query.hasMoreResults);
  return { pages };
}

function told(err) {
  const status = err.response && err.response.statusCode;
  return { error: { name: err.name, message: err.message, status, body: err.responseBody } };
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { call: method, query, args, plain } = JSON.parse(line);
    const answer = await (query ? readAll(query, args, plain) : call(method, args)).catch(told);
    console.log(JSON.stringify(answer));
  }
}

main();
