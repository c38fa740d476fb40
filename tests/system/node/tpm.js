'use strict';
// The TPM that the bridge shows on the simulator's port, as azure-iot-security-tpm sees it.
const tss = require('tss.js');
const { TpmSecurityClient } = require('azure-iot-security-tpm');

exports.open = function (registrationId) {
  return new TpmSecurityClient(registrationId, new tss.Tpm(true));
};
