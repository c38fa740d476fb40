"""Many devices at a hub, each as a device lives: it connects, comes back when it was cut, repeats
what was not acknowledged, and reads its twin whenever it has come back."""
import asyncio
import json
import ssl
import struct
import threading

from lib import mqtt, sas
from lib.process import wait_until

DESIRED = "$iothub/twin/PATCH/properties/desired/"


class Member:
    """One device. acked is how many of its numbered messages the broker has taken."""

    def __init__(self, fleet, device_id, key):
        self.fleet, self.device_id, self.key = fleet, device_id, key
        self.acked = self.connections = 0
        self.desired = None  # the last value of the property n
        self.online = False

    async def live(self):
        """Until the fleet stops. Whatever ends a connection is a reason to come back."""
        pause_s = 0.2
        while not self.fleet.stopping:
            try:
                await self._connection()
            except (OSError, EOFError, asyncio.TimeoutError):
                pass
            await asyncio.sleep(pause_s * self.fleet.jitter())
            pause_s = 0.2 if self.connections and self.acked else min(2, pause_s * 2)

    async def _connection(self):
        broker = self.fleet.broker
        async with self.fleet.handshakes:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(
                "127.0.0.1", broker.port, ssl=self.fleet.tls, server_hostname=broker.hub), 60)
        try:
            await self._connect(reader, writer)
            self.connections += 1
            await self._talk(reader, writer)
        finally:
            writer.transport.abort()

    async def _connect(self, reader, writer):
        token = sas.hub_token(self.key, self.fleet.broker.hub, self.device_id)
        writer.write(mqtt.connect_packet(self.device_id, self.fleet.broker.user_name(self.device_id),
                                         token, keep_alive=240))
        kind, _, body = await self._packet(reader)
        if (kind, body[1]) != (mqtt.CONNACK, 0):
            raise EOFError
        for topic in DESIRED + "#", "$iothub/twin/res/#":
            writer.write(mqtt.packet(mqtt.SUBSCRIBE, 2, b"\0\1" + mqtt.field(topic) + b"\1"))
            while (await self._packet(reader))[0] != mqtt.SUBACK:
                pass
        writer.write(mqtt.packet(mqtt.PUBLISH, 0, mqtt.field("$iothub/twin/GET/?$rid=1")))

    async def _talk(self, reader, writer):
        self.online = True
        sender = asyncio.create_task(self._send(writer))
        try:
            while True:
                kind, flags, body = await self._packet(reader)
                if kind == mqtt.PUBACK and struct.unpack(">H", body)[0] == self._packet_id():
                    self.acked += 1
                elif kind == mqtt.PUBLISH:
                    self._take(writer, flags >> 1 & 3, body)
        finally:
            self.online = False
            sender.cancel()

    def _packet_id(self):
        return self.acked % 65000 + 1

    async def _send(self, writer):
        """Number n goes out again and again, until it is acknowledged."""
        topic, sent = mqtt.field(f"devices/{self.device_id}/messages/events/"), -1
        while True:
            if sent != self.acked:
                sent = self.acked
                writer.write(mqtt.packet(mqtt.PUBLISH, 2, topic + struct.pack(
                    ">H", self._packet_id()) + str(sent).encode()))
                await writer.drain()
            await asyncio.sleep(self.fleet.every_s * self.fleet.jitter())

    def _take(self, writer, qos, body):
        topic_len = struct.unpack(">H", body[:2])[0]
        topic, rest = body[2:2 + topic_len].decode(), body[2 + topic_len:]
        if qos:
            writer.write(mqtt.packet(mqtt.PUBACK, 0, rest[:2]))
            rest = rest[2:]
        if topic.startswith(DESIRED):
            self.desired = json.loads(rest).get("n")
        elif topic.startswith("$iothub/twin/res/200"):
            self.desired = json.loads(rest)["desired"].get("n")

    async def _packet(self, reader):
        head = (await reader.readexactly(1))[0]
        length = shift = 0
        while True:
            digit = (await reader.readexactly(1))[0]
            length |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                return head >> 4, head & 15, await reader.readexactly(length)


class Fleet:
    """devices is {id: key}; they live on a thread of their own until close()."""

    def __init__(self, broker, devices, every_s=1.0):
        self.broker, self.every_s = broker, every_s
        self.tls = ssl.create_default_context(cafile=broker.ca_file)
        self.members = {name: Member(self, name, key) for name, key in devices.items()}
        self.stopping = False
        self.handshakes = None
        self._lives, self.faults = [], []
        self._turn = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    async def _run(self):
        self.handshakes = asyncio.Semaphore(50)
        self._lives = [asyncio.create_task(member.live()) for member in self.members.values()]
        while not self.stopping:
            await asyncio.sleep(0.1)
        for life in self._lives:
            life.cancel()
        ended = await asyncio.gather(*self._lives, return_exceptions=True)
        self.faults = [e for e in ended if isinstance(e, Exception)]

    def jitter(self):
        """0.5 to 1.5, the same in each run."""
        self._turn = (self._turn * 1103515245 + 12345) % 2**31
        return 0.5 + self._turn / 2**31

    def wait(self, condition, what, timeout_s=120):
        """Until condition(member) holds for all."""
        def late():
            assert all(not life.done() for life in self._lives), "a device's own fault"
            return [m.device_id for m in self.members.values() if not condition(m)]

        try:
            wait_until(lambda: not late(), what, timeout_s, 0.2)
        except AssertionError as fault:
            raise AssertionError(f"{fault}: {len(late())} of {len(self.members)}, "
                                 f"as {late()[:3]}") from fault

    def wait_online(self):
        self.wait(lambda m: m.online, "every device is connected")

    def wait_message(self):
        """Each device gets a message acknowledged that it sent after this call."""
        before = {name: member.acked for name, member in self.members.items()}
        self.wait(lambda m: m.acked > before[m.device_id] + 1, "each device sends")

    def connections(self):
        return {name: member.connections for name, member in self.members.items()}

    def close(self):
        self.stopping = True
        self._thread.join(60)
        assert not self._thread.is_alive() and not self.faults, self.faults[:3]
