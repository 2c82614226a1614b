"""What the gateway counts, as Prometheus reads it at /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
TIMING = "timing."


class Measures:
    """Of one ingress."""

    def __init__(self):
        self.registry = CollectorRegistry()
        of = {"registry": self.registry}
        self.requests = Counter("indextts_requests", "Requests of speech, by status.", ["status"], **of)
        self.refusals = Counter(
            "indextts_refusals", "Requests that were refused, by reason.", ["reason"], **of
        )
        self.retries = Counter("indextts_retries", "Requests begun again because a replica was lost.", **of)
        self.left = Counter("indextts_hang_ups", "Requests whose client left.", **of)
        self.under_way = Gauge("indextts_requests_under_way", "Requests waiting or being spoken.", **of)
        self.first = Histogram("indextts_first_audio_seconds", "To the first audio.", buckets=SECONDS, **of)
        self.whole = Histogram("indextts_request_seconds", "To the end.", buckets=SECONDS, **of)
        self.stages = Histogram(
            "indextts_stage_seconds", "Of a request in a stage.", ["stage"], buckets=SECONDS, **of
        )
        self.audio = Counter("indextts_audio_seconds", "Audio that was made.", **of)

    def done(self, metrics: dict[str, object]) -> None:
        """Count what a replica tells of a request."""
        self.audio.inc(float(metrics["audio_seconds"]))
        for name, value in metrics.items():
            if name.startswith(TIMING):
                self.stages.labels(name.removeprefix(TIMING)).observe(float(value))

    def text(self) -> bytes:
        return generate_latest(self.registry)
