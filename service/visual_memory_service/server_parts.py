"""Parts of a server that its settings ask for: who may call, certificates, HTTP, telemetry."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

from visual_memory_service.access.callers import Callers
from visual_memory_service.access.key_file import KeyFile
from visual_memory_service.access.limits import BadLimit, parse_limits
from visual_memory_service.config import BadSetting, Settings
from visual_memory_service.runtime.memories import Memories
from visual_memory_service.runtime.operations import Operations
from visual_memory_service.wire.certificates import Certificates
from visual_memory_service.wire.listener import Listener, is_loopback

if TYPE_CHECKING:
    from visual_memory_service.http.server import HttpServer
    from visual_memory_service.telemetry.metrics import MetricsServer
    from visual_memory_service.telemetry.traces import Traces

NEEDED = (  # the setting, the module that it needs, and the extra with that
    ("http_listen", "starlette", "http"),
    ("http_listen", "uvicorn", "http"),
    ("http_listen", "python_multipart", "http"),
    ("metrics_listen", "prometheus_client", "telemetry"),
    ("traces_to", "opentelemetry.exporter.otlp.proto.grpc", "telemetry"),
)
log = structlog.get_logger()


def callers_of(settings: Settings) -> Callers:
    """Return who may call, by the keys of the data folder. Raises BadSetting."""
    try:
        limits = parse_limits(settings.key_limits)
    except BadLimit as problem:
        raise BadSetting(f"Each of key_limits {problem}.") from None
    return Callers(KeyFile(settings.data), limits)


def certificates_of(settings: Settings) -> Certificates | None:
    """Return the certificates that the settings name, None without TLS. Raises BadSetting."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Certificates(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)


def check_open(settings: Settings, callers: Callers) -> None:
    """Raise BadSetting if other machines could do everything, unless the settings allow it.

    Keys that they would send in plain text are logged.
    """
    listens = (("listen", settings.listen), ("http_listen", settings.http_listen))
    reached = [text for name, text in listens if text and not is_loopback(text, name)]
    if not reached:
        return
    closed = callers.needs_keys or settings.tls_client_ca is not None
    if not closed and not settings.allow_anyone:
        raise BadSetting(
            f"{reached[0]} is reached by other machines, and there are no keys, so that "
            "anyone could read and delete everything. Make a key (visual-memory keys create NAME "
            f"--scope admin --data {settings.data}), or allow it by --allow-anyone."
        )
    if settings.tls_certificate is None:
        log.warning("no TLS", listen=reached[0], reason="keys and entries are sent as they are")


def metrics_of(
    settings: Settings,
    memories: Memories,
    operations: Operations,
    listener: Listener,
    certificates: Certificates | None,
) -> MetricsServer | None:
    """Serve metrics, if the settings say where. Raises BadSetting."""
    if settings.metrics_listen is None:
        return None
    from visual_memory_service.telemetry.metrics import Measured, MetricsServer

    gauges = [listener.admission.gauges]
    if certificates is not None:
        gauges.append(certificates.gauges)
    collector = Measured(memories, operations, gauges)
    return MetricsServer(settings.metrics_listen, collector)


def traces_of(settings: Settings) -> Traces | None:
    """Return what exports traces, if the settings say where to."""
    if settings.traces_to is None:
        return None
    from visual_memory_service.telemetry.traces import Traces

    return Traces.to(settings.traces_to)


def check_extras(settings: Settings) -> None:
    """Raise BadSetting if a library is missing that the settings need."""
    for setting, module, extra in NEEDED:
        if getattr(settings, setting) is not None and not is_installed(module):
            raise BadSetting(
                f"{setting} needs the Python package {module}, which is not installed; in the "
                f"checkout of visual-memory: pip install -e '.[{extra}]'"
            )


def is_installed(module: str) -> bool:
    """Return True if a module can be imported; its packages are."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def http_of(
    settings: Settings, listener: Listener, callers: Callers, certificates: Certificates | None
) -> HttpServer | None:
    """Return the HTTP server in front of a listener, if the settings say where it listens."""
    if settings.http_listen is None:
        return None
    from visual_memory_service.http.gateway import Gateway
    from visual_memory_service.http.server import HttpServer

    gateway = Gateway(
        lambda: listener.socket, callers, settings.http_origins, settings, settings.public
    )
    return HttpServer(settings, gateway, certificates)
