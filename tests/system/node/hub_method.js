'use strict';
// usage: node hub_method.js CONNECTION-STRING DEVICE-ID < calls
//
// Direct methods by the unmodified operators' SDK: a line of stdin is what invokeDeviceMethod() takes,
// a line of stdout {"result": ...} or {"error": NAME, "status": CODE}.
const readline = require('readline');
const { Client } = require('azure-iothub');

async function main(connectionString, deviceId) {
  const client = Client.fromConnectionString(connectionString);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      const { result } = await client.invokeDeviceMethod(deviceId, JSON.parse(line));
      console.log(JSON.stringify({ result }));
    } catch (err) {
      const status = err.response && err.response.statusCode;
      console.log(JSON.stringify({ error: err.name, message: err.message, status }));
    }
  }
  process.exit(0);
}

main(...process.argv.slice(2));
