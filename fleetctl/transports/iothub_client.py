"""The hub's service side through Microsoft's SDK: patient where the hub asks for it, plain about the rest."""

import email.utils
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fleetctl.errors import OverQuota, Refused, ToolchainMissing, TransportError
from fleetctl.transports.iothub_signin import CONNECTION_STRING, SignIn
from fleetctl.transports.wire import printable

BULK = 100  # devices that one call changes at most
PAGE = 1000  # twins that one call reads at most
QUERY_LIMIT = 8000  # characters; a hub takes 8 KiB
_TRIES = 8
_LONGEST_WAIT = 120.0  # seconds
_SKEW = 300.0  # seconds between two clocks that are more than chance
_PASSING = {408, 429, 500, 502, 503, 504}
_LATE = {"PreconditionFailed", "GenericPreconditionFailed", "EtagDoesNotMatch"}  # of one change among many
_BUSY = {"ThrottlingException", "ThrottleBacklogLimitExceeded", "ThrottlingBacklogTimeout", "ServerBusy"}
_UNDONE = {429}  # of those, what says for certain that nothing was done
_NO_CLIENT = 0  # the status that edgeHub answers with for a module that is not connected to it
_COLUMNS = {each.casefold(): each for each in ("deviceId", "moduleId", "etag", "connectionState")}
_BEYOND = 30.0  # seconds that a hub may take over the time that a method has

Row = Mapping[str, Any]


class Conflict(Exception):
    """Somebody else was faster: read again, and try again."""


class NotThere(Exception):
    """There is no such thing, or nobody is connected; `code` is the hub's name for it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class NoAnswer(Exception):
    """A device or module was reached and did not answer in time."""


class HubClient:
    """Calls a hub, one at a time; `calls` counts them.

    Raises, from every method: TransportError, Refused, OverQuota.
    """

    def __init__(
        self,
        sign_in: SignIn,
        sleep: Callable[[float], None] = time.sleep,
        credential: Any = None,
    ) -> None:
        """
        Args:
            credential: of azure-identity; None makes the default one where there is no connection string.

        Raises:
            ToolchainMissing: the SDK is not installed.
        """
        self.host = sign_in.host
        self.calls = 0
        self.overwritten: dict[str, str] = {}  # by device, the etag of a twin that is not its last any more
        self._sleep = sleep
        self._protocol = _protocol(sign_in, credential)
        self._protocol.config.retry_policy.retries = 0  # ours knows what the hub says of when

    def close(self) -> None:
        self._protocol.close()

    def rows(self, query: str) -> Iterator[Row]:
        """All rows of a query, page by page, as the hub gave them: the SDK's own models know no columns.

        Its own columns have the names that twins have: Azure has been seen to give `DeviceId` for `deviceId`.
        """
        from azure.iot.hub.models import QuerySpecification

        wish, continuation = QuerySpecification(query=query), None
        while True:
            page = self._call(self._protocol.query.get_twins, wish, continuation, PAGE, None, True)
            yield from self._rows_of(page.response)
            continuation = page.headers["x-ms-continuation"]
            if not continuation:
                return

    def _rows_of(self, response: Any) -> list[Row]:
        try:
            found = response.json()
        except ValueError:
            found = None
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise self._strange("what it gives for rows are none")
        return [{_COLUMNS.get(key.casefold(), key): value for key, value in row.items()} for row in found]

    def tag(self, wishes: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[str]:
        """Patch the tags of devices: name, the twin's etag, tags. Says which had another etag by now."""
        from azure.iot.hub.models import ExportImportDevice

        late: list[str] = []
        for start in range(0, len(wishes), BULK):
            changes = [
                ExportImportDevice(
                    id=name, import_mode="updateTwinIfMatchETag", twin_etag=etag, tags=dict(tags)
                )
                for name, etag, tags in wishes[start : start + BULK]
            ]
            late += self._bulk(changes)
            self.overwritten |= {change.id: change.twin_etag for change in changes}
        return late

    def device_twin(self, name: str) -> tuple[str, Mapping[str, Any]]:
        """Etag and tags of one device.

        Raises:
            NotThere: there is none of that name.
        """
        twin = self._read(self._protocol.devices.get_twin, name, expects=(NotThere,))
        return str(twin.etag), twin.tags or {}

    def reported(self, device: str, module: str) -> Mapping[str, Any]:
        """What a module reports, by its own twin.

        Raises:
            NotThere: there is none of that name.
        """
        twin = self._read(self._protocol.modules.get_twin, device, module, expects=(NotThere,))
        return (twin.properties.reported or {}) if twin.properties else {}

    def _bulk(self, changes: Sequence[Any]) -> list[str]:
        """Change devices, again where a busy hub left some out; says which had another etag by now."""
        late: list[str] = []
        for attempt in range(_TRIES):
            if attempt:
                self._sleep(_wait(None, attempt - 1))
            refused = self._refused(changes)
            late += [name for name, code in refused.items() if code in _LATE]
            changes = [change for change in changes if refused.get(change.id) in _BUSY]
            if not changes:
                return late
        raise self._throttled()

    def _refused(self, changes: Sequence[Any]) -> dict[str, str]:
        """Carry out changes; gives why those were not made that may be yet, by device."""
        result = self._read(self._protocol.bulk_registry.update_registry, changes)
        if not result.errors and not result.is_successful:  # the SDK takes every 400 for an answer
            raise TransportError(
                f"hub {self.host} would not tag and does not say why",
                hint="run again; if it says the same, look at its host name and its state",
            )
        refused = {}
        for error in result.errors or []:
            if error.error_code in _LATE | _BUSY:
                refused[str(error.device_id)] = str(error.error_code)
            elif error.error_code != "DeviceNotFound":  # gone meanwhile: nothing to tag
                raise TransportError(f"the hub would not tag {error.device_id}: {error.error_status}")
        return refused

    def deployments(self) -> list[Any]:
        """Every deployment and configuration there is."""
        found = list(self._read(self._protocol.configuration.get_configurations, 100))
        if not all(each and each.id for each in found):
            raise self._strange("what it gives for deployments are none")
        return found

    def create_deployment(self, deployment: Any) -> None:
        """Create it; one of its name that was there already is taken for it, since names tell contents."""
        try:
            create = self._protocol.configuration.create_or_update
            self._call(create, deployment.id, deployment, expects=(Conflict,))
        except Conflict:
            return

    def set_priority(self, name: str, priority: int) -> None:
        """Change a deployment's priority, whoever else changes it."""
        change, gone_or_changed = self._protocol.configuration.create_or_update, (NotThere, Conflict)
        for _ in range(_TRIES):
            try:
                found = self._read(self._protocol.configuration.get, name, expects=(NotThere,))
            except NotThere:
                return
            found.priority = priority
            try:
                self._call(change, name, found, f'"{found.etag}"', expects=gone_or_changed)
            except gone_or_changed:
                continue
            return
        raise TransportError(f"deployment {name} of hub {self.host} changes all the time")

    def delete_deployment(self, name: str) -> None:
        try:
            self._call(self._protocol.configuration.delete, name, "*", expects=(NotThere,))
        except NotThere:
            return

    def invoke(
        self, device: str, module: str, method: str, payload: Row, patience: float, *, once: bool = False
    ) -> Any:
        """Call a direct method and give back its payload.

        Args:
            once: it must not be carried out twice, so is not tried again where it may have been.

        Raises:
            NotThere: nobody is connected.
            NoAnswer: nobody answered in time, or nobody knows whether it was carried out.
        """
        from azure.iot.hub.models import CloudToDeviceMethod

        seconds = max(5, min(300, int(patience)))
        wish = CloudToDeviceMethod(
            method_name=method, payload=dict(payload), response_timeout_in_seconds=seconds
        )
        invoke, passing = self._protocol.modules.invoke_method, _UNDONE if once else _PASSING - {504}
        try:
            said = self._read(
                invoke,
                device,
                module,
                wish,
                expects=(NotThere, _TimedOut),
                passing=passing,
                once=once,
                timeout=seconds + _BEYOND,
            )
        except _TimedOut as error:
            raise NoAnswer(str(error)) from error
        if said.status == _NO_CLIENT and said.payload is None:
            raise NotThere("says its edgeHub")
        return said.payload

    def _read(self, operation: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """As `_call`, of what has to give something back: for the SDK nothing is an answer, too."""
        found = self._call(operation, *arguments, **options)
        if found is None:
            raise self._strange("it says nothing at all")
        return found

    def _call(
        self,
        operation: Callable[..., Any],
        *arguments: Any,
        expects: tuple[type[Exception], ...] = (),
        passing: set[int] = _PASSING,
        once: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Call the hub, again where that may help, and unless `once` forbids it.

        Args:
            expects: which of NotThere, Conflict and _TimedOut the caller has an answer to; the others are
                a hub that cannot be worked with.
            timeout: in seconds; the SDK's own, of a hundred, is shorter than direct methods may take.
        """
        from azure.core.exceptions import AzureError, DeserializationError
        from azure.iot.hub.sastoken import SasTokenError
        from msrest.exceptions import ClientException, HttpOperationError

        options = {} if timeout is None else {"timeout": timeout}
        for attempt in range(_TRIES):
            self.calls += 1
            try:
                return operation(*arguments, **options)
            except HttpOperationError as error:
                response = error.response
                if once and response.status_code in _PASSING - _UNDONE:
                    raise _TimedOut(str(response.status_code)) from error
                if response.status_code not in passing or attempt == _TRIES - 1:
                    raise self._translated(response, expects) from error
                self._sleep(_wait(response.headers.get("Retry-After"), attempt))
            except ClientException as error:
                if (once and _was_sent(error)) or (timeout and "Read timed out" in str(error)):
                    raise _TimedOut("no answer") from error
                if attempt == _TRIES - 1 or not _may_pass(error):
                    raise self._unreachable(error) from error
                self._sleep(_wait(None, attempt))
            except (DeserializationError, UnicodeDecodeError) as error:
                raise self._strange("what it says is not what was asked for") from error
            except SasTokenError as error:
                raise Refused(
                    f"the SharedAccessKey in {CONNECTION_STRING} is not in base64",
                    hint="copy it anew, with every `=` at its end",
                ) from error
            except AzureError as error:
                raise Refused(
                    f"Entra ID gives no token for hub {self.host}: {printable(error, 300)}",
                    hint="`az login`; in GitHub Actions `azure/login`; in Azure a managed identity",
                ) from error
        raise AssertionError("the last try returns or raises")

    def _translated(self, response: Any, expects: tuple[type[Exception], ...]) -> Exception:
        """What a hub's refusal means to a caller who has an answer to what it expects."""
        code = response.headers.get("iothub-errorcode", "")
        match response.status_code:
            case 401:
                return self._unauthorized(response.headers.get("Date", ""))
            case 403 if "QuotaExceeded" in code:
                return OverQuota(
                    f"hub {self.host} has taken as many messages today as it takes in a day",
                    hint="wait until midnight UTC, or give the hub more units; reports of boards count, too",
                )
            case 403:
                return Refused(
                    f"hub {self.host} does not let us do that ({code})",
                    hint="the policy or role needs registry write, service connect, and twin rights",
                )
            case 404 if NotThere in expects:
                return NotThere(code)
            case 404:
                return self._strange(f"404 {code}".strip())
            case 409 | 412 if Conflict in expects:
                return Conflict(code)
            case 429:
                return self._throttled()
            case 504 if _TimedOut in expects:
                return _TimedOut(code)
            case 504:
                return TransportError(
                    f"hub {self.host} did not answer in time, {_TRIES} times",
                    hint="run again when it is back: it, or a proxy on the way, is down",
                )
            case status:
                why = " ".join(word for word in (str(status), code, _said(response)) if word)
                return TransportError(
                    f"hub {self.host} declines: {why}",
                    hint="run again; if it says the same, look at its host name and its state",
                )

    def _throttled(self) -> OverQuota:
        return OverQuota(
            f"hub {self.host} is still throttled after {_TRIES} tries",
            hint="wait, or give the hub more units",
        )

    def _strange(self, what: str) -> TransportError:
        """The error where something answers that seems to be no hub."""
        return TransportError(
            f"{self.host} does not answer as a hub does: {what}",
            hint="look at its host name, and whether a proxy on the way wants somebody to sign in",
        )

    def _unauthorized(self, date: str) -> Exception:
        """A key that is wrong, or clocks that differ: the hub's own date tells which."""
        try:
            apart = email.utils.parsedate_to_datetime(date).timestamp() - time.time()
        except (TypeError, ValueError):
            apart = 0.0
        if abs(apart) > _SKEW:
            return Refused(
                f"the clock here and the one of hub {self.host} are {abs(apart) / 60:.0f} minutes apart",
                hint="tokens are signed with a time: set this machine's clock",
            )
        return Refused(
            f"hub {self.host} takes neither our key nor our token: wrong, revoked, or expired",
            hint="look at the hub's shared access policies, or at the role of who signed in",
        )

    def _unreachable(self, error: Exception) -> Exception:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return Refused(
                f"the certificate of hub {self.host} is not to be trusted",
                hint="a lab's hub has a CA of its own: name its file in REQUESTS_CA_BUNDLE",
            )
        if "Name or service not known" in str(error) or "NameResolution" in str(error):
            return TransportError(f"there is no hub {self.host}", hint="look at its host name")
        return TransportError(
            f"hub {self.host} cannot be reached", hint="look at its host name, the network, or the firewall"
        )


class _TimedOut(Exception):
    """504, or what else leaves open whether a call was carried out."""


def _protocol(sign_in: SignIn, credential: Any) -> Any:
    try:
        from azure.iot.hub import IoTHubConfigurationManager
    except ImportError as error:
        raise ToolchainMissing(
            f"azure-iot-hub is not installed ({error.name})",
            hint="pip install 'fleetctl[iothub]'; one of its packages, uamqp, comes for x86_64 alone",
        ) from error
    if sign_in.connection_string:
        return IoTHubConfigurationManager.from_connection_string(sign_in.connection_string).protocol
    if credential is None:
        from azure.identity import DefaultAzureCredential

        credential = DefaultAzureCredential()
    return IoTHubConfigurationManager.from_token_credential(sign_in.host, credential).protocol


def _was_sent(error: Exception) -> bool:
    """Whether a call that never got an answer may have reached the hub."""
    return _may_pass(error) and not any(word in str(error) for word in ("NewConnection", "ConnectTimeout"))


def _may_pass(error: Exception) -> bool:
    """Whether a call that never got an answer may get one later."""
    text = str(error)
    return not any(word in text for word in ("CERTIFICATE_VERIFY_FAILED", "NameResolution", "not known"))


def _wait(retry_after: str | None, attempt: int) -> float:
    """Seconds until the next try: as long as the hub says, else longer each time.

    All of them together outlast a minute, for that is what a hub counts by.
    """
    if retry_after and retry_after.isdecimal():
        return min(_LONGEST_WAIT, float(retry_after))
    return float(min(30, 2**attempt))


def _said(response: Any) -> str:
    try:
        return str(response.json()["Message"])[:300]
    except (ValueError, KeyError, TypeError):
        return str(response.text)[:300]
