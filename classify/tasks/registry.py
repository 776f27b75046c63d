"""The tasks by name, and every measure by its metric."""

from __future__ import annotations

from layerprobe.classify.config import Metric, TaskName
from layerprobe.classify.tasks.classification import CLASSIFICATION
from layerprobe.classify.tasks.label_sets import MULTILABEL
from layerprobe.classify.tasks.ordinal import ORDINAL
from layerprobe.classify.tasks.regression import REGRESSION
from layerprobe.classify.tasks.task import Measure, Task
from layerprobe.classify.tasks.votes import SOFT

TASKS: dict[TaskName, Task] = {
    task.name: task for task in (CLASSIFICATION, REGRESSION, ORDINAL, MULTILABEL, SOFT)
}
MEASURES: dict[Metric, Measure] = {
    metric: measure for task in TASKS.values() for metric, measure in task.measures.items()
}
