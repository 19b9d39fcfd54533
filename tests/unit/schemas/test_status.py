from steptrail.schemas.status import STATUS_BY_CODE, ProcessingStatus


def test_a_status_is_its_name() -> None:
    """Each member is the string of its name, also when formatted."""
    assert all(status == status.name == status.value == f"{status}" for status in ProcessingStatus)


def test_codes_are_the_indexes_of_the_wire() -> None:
    """Codes run from 0 in the order of the contract, and lead back to the status."""
    names = ["PENDING", "RUNNING", "SUCCESS", "WARNING", "ERROR", "FAILED", "SKIPPED"]
    assert [status.name for status in STATUS_BY_CODE] == names
    assert [status.code for status in STATUS_BY_CODE] == list(range(7))


def test_every_ending_has_the_same_rank() -> None:
    """Pending comes before running, and running before each of the endings, which are terminal."""
    assert [status.rank for status in STATUS_BY_CODE] == [0, 1, 2, 2, 2, 2, 2]
    assert [status.is_terminal for status in STATUS_BY_CODE] == [False, False, True, True, True, True, True]
    assert {status for status in STATUS_BY_CODE if status.is_error} == {
        ProcessingStatus.ERROR,
        ProcessingStatus.FAILED,
    }
