"""Logs: one JSON object a line on standard error, from every process of a node.

structlog renders; keys and other client text are values of the object and so are escaped, never part of the line's
shape. Library logs (aiohttp, asyncio) go the same way. Secrets are never given to a logger.
"""

from __future__ import annotations

import logging
import sys

import structlog


def set_up_logs(level: str, **bound: str | int) -> None:
    """From here on log at ``level`` (debug, info, warning, error); ``bound`` is in every line (node, worker)."""
    severity = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(severity),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**bound)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(level=max(severity, logging.WARNING), handlers=[handler], force=True)
