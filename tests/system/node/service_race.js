'use strict';
// usage: node service_race.js CONNECTION-STRING REGISTRATION-ID UPDATES WORKERS
//
// WORKERS at a time count up initialTwin.tags.count of one enrollment with the operators' SDK, each
// step a read and a write on condition of the etag, until UPDATES have succeeded. Prints one line of
// JSON: how many were refused and tried again.
const { promisify } = require('util');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');

const [text, id, updates, workers] = process.argv.slice(2);
const client = ProvisioningServiceClient.fromConnectionString(text);
const get = promisify(client.getIndividualEnrollment.bind(client));
const put = promisify(client.createOrUpdateIndividualEnrollment.bind(client));

let left = Number(updates);
let refused = 0;

async function countUp() {
  for (;;) {
    const enrollment = await get(id);
    enrollment.initialTwin.tags.count += 1;
    try {
      return await put(enrollment);
    } catch (err) {
      if (err.name !== 'InvalidEtagError') {
        throw err;
      }
      refused += 1;
    }
  }
}

async function worker() {
  while (left > 0) {
    left -= 1;
    await countUp();
  }
}

Promise.all(Array.from({ length: Number(workers) }, worker)).then(
  () => console.log(JSON.stringify({ refused })),
  (err) => {
    console.error(err);
    process.exit(1);
  });
