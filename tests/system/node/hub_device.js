'use strict';
// usage: node hub_device.js CA-FILE
//
// A device of a hub by the unmodified SDK over MQTT. A line of stdin is {"do": WHAT, ...}; each gets
// one line of stdout: {"result": ...} or {"error": NAME}. What comes from the hub by itself is a line
// {"event": ...}.
const fs = require('fs');
const readline = require('readline');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const ca = fs.readFileSync(process.argv[2], 'ascii');
let client, twin;

function tell(line) {
  console.log(JSON.stringify(line));
}

function received(message) {
  tell({ event: 'message', body: message.data.toString(), id: message.messageId,
    properties: message.properties.propertyList });
  client.complete(message, (err) => err && tell({ event: 'complete failed', name: err.name }));
}

// A connection string, a token, or the key that a registration put into the TPM.
function make(how) {
  if (how.connectionString) {
    return Client.fromConnectionString(how.connectionString, Mqtt);
  }
  if (how.token) {
    return Client.fromSharedAccessSignature(how.token, Mqtt);
  }
  const { TpmAuthenticationProvider } = require('azure-iot-security-tpm');
  const tpm = require('./tpm').open(how.deviceId);
  return Client.fromAuthenticationProvider(
    TpmAuthenticationProvider.fromTpmSecurityClient(how.deviceId, how.hub, tpm), Mqtt);
}

const doers = {
  async open(how) {
    client = make(how);
    await client.setOptions({ ca });
    client.setRetryPolicy({ shouldRetry: () => false, nextRetryTimeout: () => 0 });
    client.on('disconnect', () => tell({ event: 'disconnect' }));
    client.on('error', (err) => tell({ event: 'error', name: err.name }));
    await client.open();
  },
  async send({ body, properties, id }) {
    const message = new Message(body);
    for (const [name, value] of Object.entries(properties || {})) {
      message.properties.add(name, value);
    }
    message.messageId = id;
    message.contentType = 'application/json';
    await client.sendEvent(message);
  },
  async getTwin() {
    twin = await client.getTwin();
    return twin.properties;
  },
  async onDesired() {
    twin.on('properties.desired', (delta) => tell({ event: 'desired', delta }));
  },
  async report({ patch }) {
    await new Promise((resolve, reject) =>
      twin.properties.reported.update(patch, (err) => (err ? reject(err) : resolve())));
  },
  async onMessage() {
    client.on('message', received);
  },
  async onMethod({ name, status, payload }) {
    client.onDeviceMethod(name, (request, response) => {
      tell({ event: 'method', name: request.methodName, payload: request.payload });
      response.send(status, payload, (err) => err && tell({ event: 'error', name: err.name }));
    });
  },
  async close() {
    await client.close();
  },
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const what = JSON.parse(line);
    try {
      const result = await doers[what.do](what);
      tell({ result: result === undefined ? null : result });
    } catch (err) {
      tell({ error: err.name, message: err.message });
    }
  }
  process.exit(0);
}

main();
