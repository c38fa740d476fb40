'use strict';
// Reads EK, SRK and the default registration ID through the bridge; prints one line of JSON.
const { promisify } = require('util');

async function main() {
  const tpm = require('./tpm').open();
  const ask = (method) => promisify(tpm[method].bind(tpm))();
  const result = {
    ek: (await ask('getEndorsementKey')).toString('base64'),
    srk: (await ask('getStorageRootKey')).toString('base64'),
    registrationId: await ask('getRegistrationId'),
  };
  console.log(JSON.stringify(result));
  process.exit(0);
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
