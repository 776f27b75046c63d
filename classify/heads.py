"""The classifiers a study may use, by name. A new one is a file like these and an entry here."""

from __future__ import annotations

from classify.head import Head
from classify.logreg import LOGREG
from classify.majority import MAJORITY
from classify.svm import SVM
from classify.trees import XGBOOST

HEADS: dict[str, Head] = {"logreg": LOGREG, "svm": SVM, "xgboost": XGBOOST, "majority": MAJORITY}
