"""The device side: MQTT over TLS on port 8883, as `azure-iot-device` speaks it.

amqtt's broker refuses every topic that begins with `$`, as a broker should, and passes messages from client
to client, as a hub must not. What lies below it, its protocol handler, reads and writes packets, acknowledges
and keeps alive; which topic means what is said here.
"""

import asyncio
import collections
import contextlib
import json
import secrets
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from fleetctl.lab.iothub import device_topics as topics
from fleetctl.lab.iothub.authority import Authority
from fleetctl.lab.iothub.device_signin import SignedIn, sign_in
from fleetctl.lab.iothub.hub import Hub
from fleetctl.lab.iothub.identities import Identity
from fleetctl.lab.iothub.limits import Clock
from fleetctl.lab.iothub.refusal import HubRefusal, bad_argument

if TYPE_CHECKING:
    from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
    from amqtt.session import ApplicationMessage

_KEPT_EVENTS = 1000
_SUBSCRIPTION_REFUSED = 0x80
_MOST_SECONDS = 300
_METHOD_LIMIT = 128 * 1024  # bytes


class Event(Struct, frozen=True):
    """What a device or module sent as telemetry."""

    client: str
    properties: str  # as they stood in the topic
    payload: bytes


class _Connection(Struct, eq=False):
    """One client that is signed in."""

    handler: "BrokerProtocolHandler"
    identity: Identity
    expiry: float  # when its token runs out, on the hub's clock
    filters: set[str] = field(default_factory=set)
    outbox: "asyncio.Queue[tuple[str, bytes]]" = field(default_factory=asyncio.Queue)
    calls: "dict[str, asyncio.Future[tuple[int, Any]]]" = field(default_factory=dict)

    def send(self, topic: str, payload: bytes) -> bool:
        """Queue a message, if the client listens there; says whether it does."""
        if not any(topic.startswith(each.removesuffix("#")) for each in self.filters):
            return False
        self.outbox.put_nowait((topic, payload))
        return True


class DeviceSide:
    """All clients of a hub. Runs on one event loop, the hub's."""

    def __init__(
        self, hub: Hub, authority: Authority, host: str, clock: Clock, save: Callable[[], None]
    ) -> None:
        self.events: collections.deque[Event] = collections.deque(maxlen=_KEPT_EVENTS)
        self._hub, self._authority, self._host, self._clock, self._save = hub, authority, host, clock, save
        self._connections: dict[str, _Connection] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        hub.on_desired.append(self._tell_desired)
        hub.on_gone.append(self._drop)

    async def start(self, address: str, port: int) -> int:
        """Listen; returns the port, which is 8883 for unmodified devices."""
        self._server = await asyncio.start_server(self._serve, address, port, ssl=self._tls())
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Cut every client off and stop listening."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections.values()):
            await connection.handler.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def expire(self) -> None:
        """Cut off clients whose token has run out."""
        for connection in list(self._connections.values()):
            if connection.expiry <= self._clock():
                self._drop(connection.identity)

    async def invoke(self, identity: Identity, request: Mapping[str, Any]) -> dict[str, Any]:
        """Call a direct method and wait for its answer.

        Raises:
            HubRefusal: nobody is connected, or answers in time.
        """
        name, payload = request.get("methodName"), request.get("payload")
        if not isinstance(name, str) or not name:
            raise bad_argument("methodName is missing")
        if len(json.dumps(payload)) > _METHOD_LIMIT:
            raise HubRefusal(
                413, "RequestEntityTooLarge", f"a method's payload has at most {_METHOD_LIMIT} bytes"
            )
        connection = await self._connection(identity, _seconds(request, "connectTimeoutInSeconds", 0))
        rid = secrets.token_hex(8)
        answer = connection.calls[rid] = asyncio.get_running_loop().create_future()
        try:
            if not connection.send(topics.method_call(name, rid), _dumped(payload)):
                raise _offline(identity)
            wait = _seconds(request, "responseTimeoutInSeconds", 30)
            status, said = await asyncio.wait_for(answer, wait)
        except TimeoutError:
            raise HubRefusal(504, "GatewayTimeout", f"{identity.client} did not answer in time") from None
        finally:
            connection.calls.pop(rid, None)
        return {"status": status, "payload": said}

    async def _connection(self, identity: Identity, patience: int) -> _Connection:
        give_up = asyncio.get_running_loop().time() + patience
        while (found := self._connections.get(identity.client)) is None:
            if asyncio.get_running_loop().time() >= give_up:
                raise _offline(identity)
            await asyncio.sleep(0.05)
        return found

    def _tls(self) -> ssl.SSLContext:
        server = self._authority.server(self._host)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._authority.root.certificate)
        context.load_cert_chain(server.certificate, server.key)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # it went away, or we do
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from amqtt.errors import AMQTTError, MQTTError, NoDataError

        from fleetctl.lab.iothub.device_handler import accept, refuse, request_to_connect

        try:
            request = await request_to_connect(reader, writer)
            try:
                signed_in = sign_in(self._hub, self._host, request.session, self._clock())
            except HubRefusal:
                await refuse(request)
                return
            handler = await accept(request)
        except (AMQTTError, MQTTError, NoDataError):
            return  # no MQTT, or gone before it had begun
        await self._attend(_Connection(handler, signed_in.identity, signed_in.expiry), signed_in)

    async def _attend(self, connection: _Connection, signed_in: SignedIn) -> None:
        identity = signed_in.identity
        if (before := self._connections.get(identity.client)) is not None:
            await before.handler.stop()  # the later one takes over
        self._connections[identity.client] = connection
        self._set_connected(identity, True)
        jobs = [self._obey(connection), self._deliver(connection), self._subscribe(connection)]
        tasks = [asyncio.create_task(job) for job in [*jobs, self._unsubscribe(connection)]]
        try:
            await connection.handler.wait_disconnect()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._connections.get(identity.client) is connection:
                del self._connections[identity.client]
                self._set_connected(identity, False)
            await connection.handler.stop()

    def _set_connected(self, identity: Identity, is_connected: bool) -> None:
        self._hub.set_connected(identity, is_connected)
        self._save()

    async def _obey(self, connection: _Connection) -> None:
        # amqtt swallows the cancellation, and gives none.
        while (message := await connection.handler.mqtt_deliver_next_message()) is not None:
            self._take(connection, message)

    async def _deliver(self, connection: _Connection) -> None:
        while True:
            topic, payload = await connection.outbox.get()
            # Unacknowledged for five seconds, it is given up: clients that come back ask for their twin.
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await connection.handler.mqtt_publish(topic, payload, qos=1, retain=False)

    async def _subscribe(self, connection: _Connection) -> None:
        identity = connection.identity
        while True:
            wish = await connection.handler.get_next_pending_subscription()
            codes = []
            for topic_filter, qos in wish.topics:
                if topics.may_subscribe(topic_filter, identity.device, identity.module):
                    connection.filters.add(topic_filter)
                    codes.append(min(qos, 1))
                else:
                    codes.append(_SUBSCRIPTION_REFUSED)
            await connection.handler.mqtt_acknowledge_subscription(wish.packet_id, codes)

    async def _unsubscribe(self, connection: _Connection) -> None:
        while True:
            wish = await connection.handler.get_next_pending_unsubscription()
            connection.filters.difference_update(wish.topics)
            await connection.handler.mqtt_acknowledge_unsubscription(wish.packet_id)

    def _take(self, connection: _Connection, message: "ApplicationMessage") -> None:
        published = topics.understand(message.topic)
        if published is None:
            self._drop(connection.identity)  # as Azure does to who publishes where nothing is
            return
        payload, fields = bytes(message.data), published.fields
        match published.topic:
            case topics.Topic.TWIN_GET:
                self._tell_twin(connection, fields["rid"])
            case topics.Topic.TWIN_REPORT:
                self._report(connection, fields["rid"], payload)
            case topics.Topic.METHOD_ANSWER:
                if (call := connection.calls.get(fields["rid"])) is not None and not call.done():
                    call.set_result((int(fields["status"]), _loaded(payload)))
            case topics.Topic.EVENT:
                self.events.append(Event(connection.identity.client, fields["words"], payload))
                self._hub.touch(connection.identity)

    def _tell_twin(self, connection: _Connection, rid: str) -> None:
        twin = connection.identity.twin
        both = {"desired": twin.desired.for_device(), "reported": twin.reported.for_device()}
        connection.send(topics.twin_answer(200, rid), _dumped(both))

    def _report(self, connection: _Connection, rid: str, payload: bytes) -> None:
        try:
            patch = _loaded(payload)
            if not isinstance(patch, dict):
                raise bad_argument("reported properties are no object")
            version = self._hub.report(connection.identity, patch)
        except HubRefusal as refusal:
            said = _dumped({"message": refusal.message})
            connection.send(topics.twin_answer(refusal.status, rid), said)
            return
        self._save()
        connection.send(topics.twin_answer(204, rid, version), b"")

    def _tell_desired(self, identity: Identity, patch: Mapping[str, Any]) -> None:
        if (connection := self._connections.get(identity.client)) is not None:
            connection.send(topics.twin_patch(patch["$version"]), _dumped(patch))

    def _drop(self, identity: Identity) -> None:
        """Cut a client off; soon, since the caller may be its own task."""
        if (connection := self._connections.get(identity.client)) is not None:
            task = asyncio.get_running_loop().create_task(connection.handler.stop())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


def _seconds(request: Mapping[str, Any], name: str, default: int) -> int:
    value = request.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_SECONDS:
        raise bad_argument(f"{name} is no number from 0 to {_MOST_SECONDS}")
    return value


def _offline(identity: Identity) -> HubRefusal:
    return HubRefusal(404, "DeviceNotOnline", f"{identity.client} is not connected, or listens to no methods")


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def _loaded(payload: bytes) -> Any:
    try:
        return json.loads(payload) if payload else None
    except ValueError as error:
        raise bad_argument(f"the payload is no JSON: {error}") from error
