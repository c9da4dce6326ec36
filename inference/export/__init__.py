"""A trained fusion as one file that runs without this suite."""

from ivif.inference.export.files import Exported, ExportError, ExportFormat, export_fusion

__all__ = ["ExportError", "ExportFormat", "Exported", "export_fusion"]
