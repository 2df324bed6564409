"""What it costs to watch a service: its log, its traces and its metrics."""

from contextlib import ExitStack
from statistics import median

from benchmarks.document import publish, table
from benchmarks.layers import CLIENTS, cpu_per_request, read_options
from benchmarks.subjects import MEASURED, laboratory
from lab.otlp import otlp_receiver
from lab.services import running_service

SILENT = "--no-access-log"
PATH = "/users/"


def main() -> None:
    """Measure, print and write the table."""
    options = read_options(__doc__)
    [variant] = [v for v in MEASURED if v.id == "postgres-queuepool-asyncpg-migrate"]
    with laboratory() as lab, otlp_receiver() as receiver, ExitStack() as stack:
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}
        sampled = endpoint | {
            "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.01",
        }
        ways: dict[str, tuple[list[str], dict[str, str]]] = {
            "no access log, no collector": ([SILENT], {}),
            "an access log": ([], {}),
            "an access log in JSON": ([], {"LOG_FORMAT": "json"}),
            "every request traced": ([SILENT], endpoint),
            "one request in a hundred traced": ([SILENT], sampled),
        }
        url = lab.database().url
        services = [
            stack.enter_context(
                running_service(
                    lab.environment(variant.driver),
                    lab.project(variant),
                    lab.folder / f"{number}.log",
                    *flags,
                    DATABASE_URL=url,
                    **variables,
                )
            )
            for number, (flags, variables) in enumerate(ways.values())
        ]
        found: list[list[float]] = [[] for _ in services]
        for _ in range(options.rounds):
            for times, service in zip(found, services, strict=True):
                times.append(cpu_per_request(service, PATH, options.seconds))
    publish(
        "watching",
        f"Medians of {options.rounds} rounds, {CLIENTS} clients,"
        f" {variant.id.removesuffix('-migrate')}.",
        table(
            ["A read of one user, with", "CPU, ms/request", "Spread"],
            [
                (
                    title,
                    f"{median(times):.2f}",
                    f"{min(times):.2f} to {max(times):.2f}",
                )
                for times, title in zip(found, ways, strict=True)
            ],
        ),
    )


if __name__ == "__main__":
    main()
