'use strict';
// usage: node register_member.js HOST SCOPE REGISTRATION-ID key BASE64
//        node register_member.js HOST SCOPE REGISTRATION-ID cert CERT-FILE KEY-FILE
//
// Registers by HTTP with the unmodified SDK, by a symmetric key or a certificate, and prints one
// line of JSON: what the SDK hands over.
const fs = require('fs');
const { promisify } = require('util');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Http } = require('azure-iot-provisioning-device-http');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');

function securityOf(registrationId, kind, words) {
  if (kind === 'key') {
    return new SymmetricKeySecurityClient(registrationId, words[0]);
  }
  const [cert, key] = words.map((path) => fs.readFileSync(path, 'utf-8'));
  return new X509Security(registrationId, { cert, key });
}

async function main(host, scope, registrationId, kind, ...words) {
  const security = securityOf(registrationId, kind, words);
  const client = ProvisioningDeviceClient.create(host, scope, new Http(), security);
  console.log(JSON.stringify(await promisify(client.register.bind(client))()));
  process.exit(0);
}

main(...process.argv.slice(2)).catch((err) => {
  console.error(JSON.stringify({ name: err.name, message: err.message, body: err.responseBody }));
  process.exit(1);
});
