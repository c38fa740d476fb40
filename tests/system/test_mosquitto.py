"""Mosquitto as an IoT hub: what devices may do, what they may not, and what survives what."""
import pytest

from lib.device import Device
from lib.hubbroker import HubBroker
from lib.service import Service


class Hub:
    """A service and its broker."""

    def __init__(self, directory):
        self.broker = None
        self.service = Service(directory / "service")
        self.broker = HubBroker(directory / "broker", self.service)
        self.service.configure(mqtt_socket=self.broker.socket)
        self.service.start()
        self.broker.start().wait_service()

    def device(self, name):
        """A device that is registered and assigned."""
        device = Device(self.service, name)
        self.service.enroll(device)
        device.register()
        return device

    def close(self):
        self.broker.stop()
        self.service.stop()


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    hub = Hub(tmp_path_factory.mktemp("hub"))
    yield hub
    hub.close()


def test_telemetry(hub):
    """What a registered device sends reaches an operator under its own name, properties kept."""
    device = hub.device("tel-1")
    operator = hub.broker.operator()
    client = hub.broker.device(device)
    base = f"devices/{device.device_id}/messages/events/"
    client.publish(base, b"zero")
    client.publish(base + "a=b&%24.ct=application%2Fjson", b"one", qos=1)
    got = operator.message()
    assert got[:2] == (f"latchkey/{hub.broker.hub}/tel-1/messages/events/", b"zero")
    got = operator.message()
    assert got[:3] == (
        f"latchkey/{hub.broker.hub}/tel-1/messages/events/a=b&%24.ct=application%2Fjson", b"one", 1)
    client.disconnect()
    operator.disconnect()
