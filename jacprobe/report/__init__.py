"""Reports: values in, one self-contained HTML page out."""

from jacprobe.report.page import report_page, write_report
from jacprobe.report.section import Section

__all__ = ["Section", "report_page", "write_report"]
