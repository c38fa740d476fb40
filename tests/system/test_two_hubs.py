"""Two hubs behind one service, each with a broker of its own, over one socket."""
import pytest

from lib.device import Device
from lib.hubbroker import HubBroker
from lib.process import wait_until
from lib.service import Service

OTHER = "other.example.test"
REFUSED = 5


class AsOther:
    """The service, as its other hub sees it."""

    hub = OTHER

    def __init__(self, service):
        self._service = service

    def __getattr__(self, name):
        return getattr(self._service, name)


@pytest.fixture
def brokers(tmp_path):
    service = Service(tmp_path / "service")
    service.cli("hub", "add", OTHER)
    one = HubBroker(tmp_path / "one", service)
    two = HubBroker(tmp_path / "two", AsOther(service))
    one.socket = two.socket
    one.write_config()
    service.start()
    one.start()
    two.start()
    wait_until(lambda: sum(line.get("event") == "broker.ready" for line in service.log()) >= 2,
               "the service is ready for both")
    yield one, two
    one.stop()
    two.stop()
    service.stop()


def test_each_is_its_own(brokers):
    """A device of each logs on where it belongs and nowhere else, is seen there only, and the ban of
    one leaves the other."""
    service = brokers[0].service
    clients, readers = [], [broker.operator() for broker in brokers]
    devices = []
    for n, broker in enumerate(brokers):
        device = Device(service, f"dev-{n}")
        service.enroll(device, "--hub", broker.hub)
        device.register()
        assert device.hub == broker.hub
        devices.append(device)
        clients.append(broker.device(device))
    for device, broker in zip(devices, reversed(brokers)):
        stranger = broker.client()
        assert stranger.connect(device.device_id, broker.user_name(device.device_id),
                                device.hub_token()) == REFUSED
        stranger.drop()
    for n, broker in enumerate(brokers):
        clients[n].publish(f"devices/dev-{n}/messages/events/", str(n), qos=1)
        assert readers[n].message()[:2] == (f"latchkey/{broker.hub}/dev-{n}/messages/events/",
                                            str(n).encode())
    service.cli("hub", "disable-device", OTHER, "dev-1")
    assert clients[1].wait_closed()
    clients[0].ping()
    for client in (*clients[:1], *readers):
        client.drop()
