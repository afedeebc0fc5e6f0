"""Counters of the service in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

import threading
from typing import Dict, List, Mapping

BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 20000)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Requests by HTTP status, and how long the model took."""

    def __init__(self, info: Mapping[str, str], started: float) -> None:
        self._info = info
        self._started = started
        self._lock = threading.Lock()
        self._requests: Dict[int, int] = {}
        self._buckets = dict.fromkeys(BUCKETS_MS, 0)
        self._count = 0
        self._sum_ms = 0.0

    def answered(self, status: int) -> None:
        """One `/predict` request ended with this HTTP status."""
        with self._lock:
            self._requests[status] = self._requests.get(status, 0) + 1

    def took(self, elapsed_ms: float) -> None:
        """One picture took this long."""
        with self._lock:
            self._count += 1
            self._sum_ms += elapsed_ms
            for limit in BUCKETS_MS:
                self._buckets[limit] += elapsed_ms <= limit

    def render(self) -> str:
        """Everything as text; ends with a newline."""
        with self._lock:
            lines = self._info_lines() + self._request_lines() + self._latency_lines()
        return "\n".join(lines) + "\n"

    def _info_lines(self) -> List[str]:
        labels = ",".join('%s="%s"' % (key, _escaped(value)) for key, value in sorted(self._info.items()))
        return [
            "# HELP fleetctl_release_info The release, model and accelerator of this process.",
            "# TYPE fleetctl_release_info gauge",
            "fleetctl_release_info{%s} 1" % labels,
            "# HELP fleetctl_start_time_seconds When this process began to serve, in seconds since 1970.",
            "# TYPE fleetctl_start_time_seconds gauge",
            "fleetctl_start_time_seconds %.3f" % self._started,
        ]

    def _request_lines(self) -> List[str]:
        head = [
            "# HELP fleetctl_predict_requests_total Requests to /predict by HTTP status.",
            "# TYPE fleetctl_predict_requests_total counter",
        ]
        counted = sorted(self._requests.items()) or [(200, 0)]
        return head + ['fleetctl_predict_requests_total{code="%d"} %d' % item for item in counted]

    def _latency_lines(self) -> List[str]:
        name = "fleetctl_predict_seconds"
        lines = ["# HELP %s Preprocessing and inference of one picture." % name, "# TYPE %s histogram" % name]
        lines += [
            '%s_bucket{le="%g"} %d' % (name, limit / 1000.0, count) for limit, count in self._buckets.items()
        ]
        lines.append('%s_bucket{le="+Inf"} %d' % (name, self._count))
        return [*lines, "%s_sum %.6f" % (name, self._sum_ms / 1000.0), "%s_count %d" % (name, self._count)]


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
