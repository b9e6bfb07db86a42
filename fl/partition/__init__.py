"""Partitions: the training set divided among the clients."""

from fl.partition.by_label import DirichletByLabel, Shards
from fl.partition.by_size import IID, PowerLaw
from fl.partition.natural import ByColumn, FromFile
from fl.partition.partition import Partition, divide, label_counts

PARTITIONS = {
    "iid": IID,
    "dirichlet": DirichletByLabel,
    "shards": Shards,
    "power-law": PowerLaw,
    "column": ByColumn,
    "file": FromFile,
}

__all__ = [
    "IID",
    "PARTITIONS",
    "ByColumn",
    "DirichletByLabel",
    "FromFile",
    "Partition",
    "PowerLaw",
    "Shards",
    "divide",
    "label_counts",
]
