from tests.unit.source.conftest import jpeg, write_tar

__all__ = ["jpeg", "write_tar"]
