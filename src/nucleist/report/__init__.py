"""Finished runs as tables, curves and pictures in the layout of the papers."""

from nucleist.report.build import write_report

__all__ = ["write_report"]
