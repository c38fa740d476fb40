#!/usr/bin/python3
"""Register one device in software from where this runs; for networks of a test's own.

usage: register_once.py HOST PORT CA_FILE SCOPE REGISTRATION-ID EK.pem SRK.pem

Prints registrationState as JSON, or the answer that stopped it, with exit status 1.
"""
import json
import os
import sys
import types

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib.device import Device, NotRegistered  # noqa: E402
from lib import softtpm  # noqa: E402


def key(path, *recipe):
    with open(path, encoding="ascii") as file:
        return softtpm.key_from_pem(file.read(), *recipe)


def main(host, port, ca_file, scope, registration_id, ek, srk):
    service = types.SimpleNamespace(address=("127.0.0.1", int(port)), host=host, ca_file=ca_file,
                                    scope=scope)
    tpm = softtpm.SoftTpm(ek=key(ek, softtpm.EK_ATTRIBUTES, softtpm.EK_POLICY),
                          srk=key(srk, softtpm.SRK_ATTRIBUTES))
    try:
        print(json.dumps(Device(service, registration_id, tpm).register()))
    except NotRegistered as stopped:
        print(stopped.answer)
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
