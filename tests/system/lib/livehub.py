"""A hub with everything behind it, as tests of its HTTPS surface and of fleets need it."""
from lib.hubapi import Hub
from lib.hubbroker import HubBroker
from lib.service import Service


class LiveHub:
    """A service, its broker, an operator of its hub. settings are Service's."""

    def __init__(self, directory, **settings):
        self.service = Service(directory / "service", **settings)
        self.service.cli("hub", "policy", "add", self.service.hub, "iothubowner")
        self.broker = HubBroker(directory / "broker", self.service)
        self.service.start()
        self.broker.start().wait_service()
        self.hub = Hub(self.service)

    def close(self):
        self.broker.stop()
        self.service.stop()
