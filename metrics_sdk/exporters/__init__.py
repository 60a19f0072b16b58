"""Exporters that need the standard library alone."""

from metrics_sdk.exporters.console import ConsoleExporter
from metrics_sdk.exporters.json_lines import JsonLinesExporter
from metrics_sdk.exporters.memory import MemoryExporter

__all__ = ["ConsoleExporter", "JsonLinesExporter", "MemoryExporter"]
