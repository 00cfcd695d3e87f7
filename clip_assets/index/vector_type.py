"""How an index stores vectors: pgvector's halfvec (16 bits a number) or vector (32 bits).

On the wire both are int16 dimensions, int16 zero, then big-endian floats of their own width
(pgvector, halfvec_recv and vector_recv).
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from psycopg import sql


class VectorType(StrEnum):
    """A pgvector type, by its SQL name."""

    HALFVEC = "halfvec"
    VECTOR = "vector"

    @property
    def dtype(self) -> "np.dtype[np.floating]":
        """Big-endian float16 or float32, as on the wire."""
        return np.dtype(">f2" if self is VectorType.HALFVEC else ">f4")

    @property
    def arrow(self) -> pa.DataType:
        return pa.float16() if self is VectorType.HALFVEC else pa.float32()

    def wire(self, dim: int) -> "np.dtype[np.void]":
        """A record of one vector: `dim`, `unused` and `values`, without padding."""
        return np.dtype([("dim", ">i2"), ("unused", ">i2"), ("values", self.dtype, (dim,))])

    def on_wire(self, vectors: NDArray[np.floating]) -> NDArray[np.void]:
        """Records `wire(dim)`[n] of vectors[n, dim]; values out of range become infinite."""
        count, dim = vectors.shape
        records = np.empty(count, self.wire(dim))
        records["dim"], records["unused"] = dim, 0
        records["values"] = vectors
        return records


@dataclass(frozen=True)
class SqlVector:
    """A vector type as statements name it.

    Types and operators are qualified by `schema`, where pgvector is installed: administrators
    choose it, and it may not be in the search path.
    """

    type: VectorType
    schema: str

    @property
    def name(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.type.value)

    @property
    def halfvec(self) -> sql.Identifier:
        """The type of vectors in views and functions, whatever the index stores."""
        return sql.Identifier(self.schema, VectorType.HALFVEC.value)

    @property
    def distance(self) -> sql.Composed:
        """The operator for cosine distance."""
        return sql.SQL("OPERATOR({}.<=>)").format(sql.Identifier(self.schema))

    @property
    def cosine_operators(self) -> sql.Identifier:
        """The operator class of an HNSW for that distance."""
        return sql.Identifier(self.schema, f"{self.type.value}_cosine_ops")

    @property
    def send(self) -> sql.Identifier:
        """The function that converts a value to its bytes on the wire."""
        return sql.Identifier(self.schema, f"{self.type.value}_send")
