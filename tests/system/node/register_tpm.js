'use strict';
// usage: node register_tpm.js HOST SCOPE [REGISTRATION-ID]
//
// Registers by HTTP with the unmodified SDK, then signs a SAS token for the hub with the key that
// the TPM now holds, and prints one line of JSON: registrationState and the token.
const { promisify } = require('util');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Http } = require('azure-iot-provisioning-device-http');

// As azure-iot-security-tpm's authentication provider writes it (device-protocol.md 5.1).
async function hubToken(sign, hub, deviceId) {
  const resource = encodeURIComponent(`${hub}/devices/${deviceId}`);
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const signature = (await sign(Buffer.from(`${resource}\n${expiry}`))).toString('base64');
  return `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signature)}&se=${expiry}`;
}

async function main(host, scope, registrationId) {
  const tpm = require('./tpm').open(registrationId);
  const client = ProvisioningDeviceClient.create(host, scope, new Http(), tpm);
  // With a TPM the SDK hands over the whole operation status, not just the state.
  const { registrationState: state } = await promisify(client.register.bind(client))();
  const sign = promisify(tpm.signWithIdentity.bind(tpm));
  const token = await hubToken(sign, state.assignedHub, state.deviceId);
  console.log(JSON.stringify({ state, token }));
  process.exit(0);
}

main(...process.argv.slice(2)).catch((err) => {
  console.error(JSON.stringify({ name: err.name, message: err.message, body: err.responseBody }));
  process.exit(1);
});
