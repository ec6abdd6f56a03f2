"""Land accounts: what each class had, won, lost and has, from a matrix of changes.

After the land cover accounts of the System of Environmental-Economic Accounting (SEEA Central
Framework 2012, table 5.13) and of the European Environment Agency (EEA Report 11/2006).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Account:
    """One class between two times, in the unit of the matrix; gains and losses are not netted.

    Attributes:
        opening: What there was.
        additions: What came from other classes.
        reductions: What became other classes.
        closing: What there is: ``opening + additions - reductions``.
        stable: What was and is the class.
    """

    opening: Any
    additions: Any
    reductions: Any
    closing: Any
    stable: Any

    @property
    def net(self) -> Any:
        """What was won, less what was lost."""
        return self.additions - self.reductions


def accounts(matrix: NDArray[Any]) -> list[Account]:
    """The account of each class of a matrix ``(from, to)``."""
    stable = np.diag(matrix)
    opening, closing = matrix.sum(axis=1), matrix.sum(axis=0)
    return [
        Account(opening[i], closing[i] - stable[i], opening[i] - stable[i], closing[i], stable[i])
        for i in range(len(matrix))
    ]
