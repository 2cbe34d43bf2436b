"""What does a person read? One page of results that needs no other file, and sections of MNE's."""

from .page import report_section, write_report

__all__ = ["report_section", "write_report"]
