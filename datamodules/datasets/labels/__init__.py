"""Label files: which belongs to which pair, what they say, and which class is meant."""

from ivif.datamodules.datasets.labels.class_names import checked_class_names, chosen_classes
from ivif.datamodules.datasets.labels.formats import LABEL_FORMATS
from ivif.datamodules.datasets.labels.matching import attach_labels, named_image
from ivif.datamodules.datasets.labels.reading import LabelReader

__all__ = ["LABEL_FORMATS", "LabelReader", "attach_labels", "checked_class_names", "chosen_classes", "named_image"]
