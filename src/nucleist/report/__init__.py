"""Finished runs as tables, curves and pictures in the layout of the papers."""

from nucleist.report.build import write_report
from nucleist.report.speed_table import Amount

__all__ = ["Amount", "write_report"]
