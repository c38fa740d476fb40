'use strict';
// usage: node hub_calls.js CONNECTION-STRING < calls
//
// Runs calls of the unmodified hub SDK one after the other. A line of stdin is {"call": METHOD,
// "args": [...]} for the Registry, {"query": TEXT, "pageSize": N} which is read to its end as twins,
// or {"invoke": DEVICE, "params": {...}} for a direct method. Each line of stdout is
// {"result": ..., "status": N}, {"pages": [...]} or {"error": {...}}.
const readline = require('readline');
const { Registry, Client } = require('azure-iothub');

const registry = Registry.fromConnectionString(process.argv[2]);
const client = Client.fromConnectionString(process.argv[2]);

function call(object, method, args) {
  return new Promise((resolve, reject) => {
    object[method](...args, (err, result, response) => {
      if (err) {
        reject(err);
      } else {
        // A Twin has its registry inside.
        const plain = result && result._registry ? { ...result, _registry: undefined } : result;
        resolve({ result: plain, status: response && response.statusCode });
      }
    });
  });
}

async function readAll(text, pageSize) {
  const query = registry.createQuery(text, pageSize);
  const pages = [];
  do {
    const page = (await query.nextAsTwin()).result;
    pages.push(page.map((twin) => ({ ...twin, _registry: undefined })));
  } while (query.hasMoreResults);
  return { pages };
}

function told(err) {
  const status = err.response && err.response.statusCode;
  return { error: { name: err.name, message: err.message, status, body: err.responseBody } };
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { call: method, args, query, pageSize, invoke, params } = JSON.parse(line);
    const answer = await (query !== undefined ? readAll(query, pageSize)
      : invoke ? call(client, 'invokeDeviceMethod', [invoke, params])
        : call(registry, method, args)).catch(told);
    console.log(JSON.stringify(answer));
  }
  process.exit(0);
}

main();
