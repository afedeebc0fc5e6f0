"""amqtt's protocol handler without its broker: requests to connect are refused or accepted here."""

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
    from amqtt.session import Session

_GRACE = 1.5  # times the keep-alive that a client asked for, until it counts as gone


class Request(Struct, frozen=True):
    """Somebody who wants in: `session` holds the user name, the password and the TLS connection."""

    handler: "BrokerProtocolHandler"
    session: "Session"
    reader: Any
    writer: Any


async def request_to_connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
    """Read the first packet.

    Raises:
        AMQTTError, MQTTError, NoDataError: it is not what MQTT 3.1.1 wants first.
    """
    from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter

    source, sink = StreamReaderAdapter(reader), StreamWriterAdapter(writer)
    handler, session = await _handler_class().init_from_connect(source, sink, _plugins())
    return Request(handler, session, source, sink)


async def refuse(request: Request) -> None:
    """Say that it may not, and hang up."""
    request.handler.attach(request.session, request.reader, request.writer)
    await request.handler.mqtt_connack_authorize(False)
    await request.writer.close()


async def accept(request: Request) -> "BrokerProtocolHandler":
    """Say that it may, and begin to read what it sends; the session is new, as a hub's always is."""
    request.session.keep_alive = int(request.session.keep_alive * _GRACE)
    request.session.parent = 0
    request.handler.attach(request.session, request.reader, request.writer)
    await request.handler.mqtt_connack_authorize(True)
    await request.handler.start()
    return request.handler


@functools.cache
def _handler_class() -> "type[BrokerProtocolHandler]":
    from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler

    class Handler(BrokerProtocolHandler):
        """Takes silence beyond the keep-alive for absence."""

        def handle_read_timeout(self) -> None:
            self._silent = asyncio.ensure_future(self.handle_connection_closed())

    return Handler


def _plugins() -> Any:
    """The manager of amqtt's plugins, without a plugin."""
    from amqtt.contexts import BaseContext, BrokerConfig
    from amqtt.plugins.manager import PluginManager

    context = BaseContext()
    context.config = BrokerConfig(plugins={})
    return PluginManager("fleetctl.lab.iothub", context)
